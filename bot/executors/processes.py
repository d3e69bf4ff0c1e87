"""Children that leave nothing behind: their environment, their process group, and the sweep after a crash."""

import asyncio
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType

import psutil

from bot.vitals import VITALS

LINE_BYTES = 16 * 1024 * 1024
LOG_BYTES = 4 * 1024 * 1024

#: What a trainer or speaker may know of our environment, or of a node's, with * for what a family of names ends in. No name in sight
#: holds a token: one that only begins like these, such as NVIDIA_API_KEY, is not of them.
INHERITED = ("PATH", "HOME", "LANG", "LANGUAGE", "LC_*", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "SSL_CERT_FILE", "SSL_CERT_DIR",
             "REQUESTS_CA_BUNDLE", "PYTHON*", "PIP_*", "CUDA_*", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "HF_HOME",
             "HF_HUB_OFFLINE", "HF_ENDPOINT", "TORCH_*", "PYTORCH_*", "OMP_*", "GOMP_*", "MKL_*", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
             "http_proxy", "https_proxy", "no_proxy")  # fmt: skip


def child_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the part of the environment that a child may see."""
    seen = {name: value for name, value in environ.items() if any(fnmatchcase(name, one) for one in INHERITED)}
    return seen | {"PYTHONUNBUFFERED": "1"}


def gpu_alone(gpu: str) -> dict[str, str]:
    """Return the environment in which a child sees this GPU alone, named by the number that nvidia-smi gives it or by its UUID."""
    return {"CUDA_VISIBLE_DEVICES": gpu, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"} if gpu else {}


async def start(command: Sequence[str], log: Path, more: Mapping[str, str] = MappingProxyType({})) -> Process:
    """Start a child with pipes, in a group of its own, whose stderr goes on in a log; what was logged long before is in `.1` beside it.

    `more`: of its environment, beside what every child may see.
    """
    VITALS.started["carrier" if "--carry" in command else log.stem.partition("-")[0]] += 1
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_name(f"{log.name}.1"))
    with log.open("ab") as stderr:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=PIPE,  # its closing tells the child that we are gone
            stdout=PIPE,
            stderr=stderr,
            env=child_environment() | dict(more),
            start_new_session=True,
            limit=LINE_BYTES,
        )


def started_at(pid: int) -> int:
    """Return when a process began, in seconds since 1970; 0 if it is gone."""
    try:
        return int(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return 0


def kill_group(process_group: int) -> None:
    """Kill a process group, if anything of it is left."""
    signal_group(process_group, signal.SIGKILL)


def signal_group(process_group: int, number: signal.Signals) -> None:
    """Send a signal to a process group, if anything of it is left."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process_group, number)


def sweep(process_group: int, process_started: int) -> None:
    """Kill what a dead owner left of a group, unless its number belongs to somebody else by now."""
    began = started_at(process_group)
    # A number is not given out again while a group of that number lives, so a missing leader's group is still the old one.
    if began in (0, process_started):
        kill_group(process_group)
