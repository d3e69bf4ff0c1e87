# Two commands need nothing but Python 3.11, make and git: `make demo` and `make test`. Everything lands in .venv and var.
PYTHON ?= python3
TORCH_ARGS ?=
BIN := .venv/bin
# The build of an editable package warns of folders that are named as it is.
PIP := PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --disable-pip-version-check
SEED ?= 7

.DEFAULT_GOAL := help
.PHONY: help demo test test-long test-wandb check bench-train bench-quality bench-answers bench-again bench-joint bench-speak bench-voices bench-filter bench-refusals bench-ack bench-scale soak chaos run install clean

help:  ## say what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: .venv/runtime  ## import the sample persona, train it, and hear it speak
	@$(BIN)/python -m bot.demo --seed $(SEED)

test: .venv/dev  ## run the tests, but for the long ones
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

test-long: .venv/dev  ## run the long tests alone, and try new examples where hypothesis draws them
	$(BIN)/python -m pytest -m 'long or hypothesis' --hypothesis-profile exploring

test-wandb: .venv/dev  ## install Weights & Biases (75 MB) and run its tests, which are skipped without it
	$(PIP) --editable '.[wandb]'
	$(BIN)/python -m pytest -m '' tests/bot/test_wandb.py

check: .venv/dev  ## lint, types, and the storeys of the house
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench-train: .venv/bench  ## measure training beside the ancestor's recipe and a strong one (hours on two cores)
	@$(BIN)/python -m bench.train

bench-quality: .venv/bench  ## measure how like their accounts voices write, and what they copy
	@$(BIN)/python -m bench.quality

bench-answers: .venv/bench  ## measure whether voices answer what they are told
	@$(BIN)/python -m bench.answers

bench-again: .venv/bench  ## measure whether a new version begins better from the last one or from the base
	@$(BIN)/python -m bench.again

bench-joint: .venv/bench  ## measure whether a voice of two accounts speaks as each of them
	@$(BIN)/python -m bench.joint

bench-speak: .venv/bench  ## measure voices that speak together (LLAMA=PYTHON that has llama_cpp: beside llama.cpp, too)
	@$(BIN)/python -m bench.speak $(if $(LLAMA),--llama-python $(LLAMA))

bench-voices: .venv/bench  ## measure Mynah with ten thousand voices in one database
	@$(BIN)/python -m bench.voices

bench-filter: .venv/bench  ## measure how long the filter takes for a line, and what it refuses of real posts
	@$(BIN)/python -m bench.filter

bench-refusals: .venv/bench  ## measure what the filter makes of 2,000 raw lines, and whether anything comes through
	@$(BIN)/python -m bench.refusals

bench-ack: .venv/dev  ## measure how soon Discord hears of a hundred commands, beside a training
	@$(BIN)/python -m bench.ack

bench-scale: .venv/dev  ## measure Mynah with a thousand queued accounts, two hundred servers, five thousand interactions a minute
	@$(BIN)/python -m bench.scale

soak: .venv/dev  ## run the service for an hour that is a day, and see whether it stays as it was (plots into var/soak.png)
	@mkdir -p var
	@$(BIN)/python -m bench.soak --json var/soak.json --plot var/soak.png

chaos: .venv/dev  ## kill the service, its trainer and its speaker for 15 minutes, and ask what was lost (SEED=7, MINUTES=15)
	@$(BIN)/python -m tests.chaos --seed $(SEED) --minutes $(or $(MINUTES),15)

run: .venv/runtime  ## run the service (Discord, X)
	@exec $(BIN)/mynah run

install: .venv/runtime  ## install what running needs, into .venv

# torch first and pinned: whatever else asks for it then takes this one. On Linux PyPI's is built for NVIDIA's GPUs, gigabytes of it;
# TORCH_ARGS='--index-url …' has pip fetch the CPU build instead, as for the image (docs/container.md).
.venv/runtime: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Mynah needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) $(TORCH_ARGS) torch==2.13.0
	$(PIP) --no-deps --require-hashes --requirement requirements.lock
	$(PIP) --no-deps --editable .
	@touch $@

.venv/dev: .venv/runtime
	$(PIP) --editable '.[dev]'
	@touch $@

.venv/bench: .venv/runtime
	$(PIP) --editable '.[bench]'
	@touch $@

.PHONY: lock audit licences
lock: .venv/upkeep/bin  ## pin what running needs anew, with hashes (make lock UPGRADE=--upgrade: in its newest versions)
	$</uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-package torch \
		--custom-compile-command 'make lock' $(UPGRADE) --output-file requirements.lock pyproject.toml

audit: .venv/upkeep/bin  ## ask whether anything that is pinned has a known weakness; needs the network
	{ grep -om1 'torch==[0-9.]*' pyproject.toml; sed -n '/==/s/ *\\$$//p' requirements.lock; } > .venv/upkeep/pinned.txt
	$</pip-audit --strict --disable-pip --no-deps --requirement .venv/upkeep/pinned.txt

licences: .venv/upkeep/bin .venv/runtime  ## list the licences of what is pinned, in docs/licences.md
	{ sed '/^| Name /,$$d' docs/licences.md; \
	  $</pip-licenses --python $(BIN)/python --packages torch $$(sed -n 's/==.*//p' requirements.lock) \
	  --with-system --no-version --from=mixed --order=name --format=markdown; } > .venv/upkeep/licences.md
	mv .venv/upkeep/licences.md docs/licences.md

.venv/upkeep/bin: Makefile
	$(PYTHON) -m venv .venv/upkeep
	$@/pip install --quiet --disable-pip-version-check uv==0.13.9 pip-audit==2.10.1 pip-licenses==5.5.5
	@touch $@

clean:  ## remove .venv and caches; what was learned (var) stays
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
