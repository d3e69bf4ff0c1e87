"""What runs on a node of a cluster: a trainer as a child, with the files it needs beside it, and what it says and makes sent back.

It is sent there as it stands (trainer/cluster.py) and so imports nothing of Mynah: a node that has another Mynah, or none, says so
in its versions. The trainer dies with the process that this runs in, whatever becomes of that, by its lifeline.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Any, TypedDict, cast

PIECE = 4 << 20  # bytes of a file that are sent at once
MOST_CHECKPOINT = 256 << 20
"""Bytes; larger checkpoints (method = "full") stay on the node, for they would fill the network."""
ASK_SECONDS = 0.5
VERSION_SECONDS = 60.0
LOG_BYTES = 4000
"""Of the end of a trainer's log, where it died."""
CHECKPOINT, WEIGHTS, START = "checkpoint.safetensors", "adapter.safetensors", "start.safetensors"
NAMESPACE = "mynah"


class Parcel(TypedDict):
    """An order as it is sent."""

    jobs: dict[str, dict[str, Any]]
    """Each job as its JSON says, by its id."""
    files: dict[str, dict[str, bytes]]
    """Of each job: a checkpoint, the weights to start from, as far as there are any."""
    cache: str
    inherited: list[str]
    checkpoint_seconds: float


Item = tuple[str, Any, Any, Any]
"""("begun", the node's versions, its name, None), ("line", what the trainer says, None, None), ("piece", (job, name of the file), bytes,
whether it was the last), ("ended", exit status, the end of the trainer's log, None)."""


def versions(inherited: list[str]) -> dict[str, str]:
    """Return what `python -m trainer --version` says here, or why it says nothing."""
    command = [sys.executable, "-m", "trainer", "--version"]
    try:
        done = subprocess.run(
            command, env=_environment(inherited), cwd="/", capture_output=True, text=True, timeout=VERSION_SECONDS, check=False
        )
        found: dict[str, str] = json.loads(done.stdout)
        return found
    except subprocess.TimeoutExpired:
        return {"trainer": f"no answer within {VERSION_SECONDS:g} s"}
    except ValueError:
        return {"trainer": (done.stderr.strip().splitlines() or ["no word"])[-1][-160:]}


def task(parcel: Parcel, key: str) -> Iterator[Item]:
    """Train an order as a task of Ray, in whose own store of keys stands which of its jobs are to end."""
    import ray
    from ray.experimental.internal_kv import _internal_kv_get

    def asked() -> list[str]:
        jobs: list[str] = json.loads(_internal_kv_get(key, namespace=NAMESPACE) or b"[]")
        return jobs

    # Ray's number of the node as well: several may run on one machine.
    yield from train(parcel, asked, f"{os.uname().nodename} ({ray.get_runtime_context().get_node_id()[:8]})")


def train(parcel: Parcel, asked: Callable[[], list[str]], name: str) -> Iterator[Item]:
    """Train an order on the node of this name; `asked` tells which of its jobs are to end."""
    with _workplace(Path(parcel["cache"]).expanduser()) as folder:
        yield "begun", versions(parcel["inherited"]), name, None
        files = [_lay_out(parcel, job, folder / job) for job in parcel["jobs"]]
        with (
            (folder / "trainer.log").open("w+b") as log,
            subprocess.Popen(
                [sys.executable, "-m", "trainer", "--job", *map(str, files), "--lifeline"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=_environment(parcel["inherited"]),
                cwd=folder,
                start_new_session=True,
            ) as child,
        ):
            ended = threading.Event()
            teller = threading.Thread(target=_pass_on, args=(child, asked, ended), daemon=True)
            teller.start()
            try:
                yield from _hear(child, parcel, folder)
                log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_BYTES))
                yield "ended", child.wait(), log.read().decode("utf-8", "replace"), None
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                ended.set()
                teller.join()


def _hear(child: "subprocess.Popen[bytes]", parcel: Parcel, folder: Path) -> Iterator[Item]:
    """Yield what the trainer says, what it made before it says so, and checkpoints now and then."""
    looked, sent = time.monotonic(), dict.fromkeys(parcel["jobs"], 0)
    for line in cast("IO[bytes]", child.stdout):
        said = json.loads(line)
        if said["type"] == "done":
            yield from _pieces(said["job"], Path(said["weights"]), WEIGHTS)
        yield "line", line.decode("utf-8", "replace"), None, None
        if parcel["checkpoint_seconds"] and time.monotonic() - looked >= parcel["checkpoint_seconds"]:
            looked = time.monotonic()
            for job in sent:
                with suppress(FileNotFoundError):  # there is none yet, or none any more
                    path = folder / job / CHECKPOINT
                    state = path.stat()
                    if state.st_mtime_ns != sent[job] and state.st_size <= MOST_CHECKPOINT:
                        yield from _pieces(job, path, CHECKPOINT)
                        sent[job] = state.st_mtime_ns


def _pieces(job: str, path: Path, name: str) -> Iterator[Item]:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        while True:
            piece = file.read(PIECE)
            yield "piece", (job, name), piece, file.tell() >= size
            if file.tell() >= size:
                return


def _lay_out(parcel: Parcel, job: str, folder: Path) -> Path:
    """Write what a job needs into its folder, and return the file that says what it is."""
    folder.mkdir()
    for name, content in parcel["files"].get(job, {}).items():
        (folder / name).write_bytes(content)
    places = {"output": str(folder), "cache": str(Path(parcel["cache"]).expanduser())}
    if (folder / START).exists():
        places["start"] = str(folder / START)
    (folder / "job.json").write_text(json.dumps(parcel["jobs"][job] | places), encoding="utf-8")
    return folder / "job.json"


def _pass_on(child: "subprocess.Popen[bytes]", asked: Callable[[], list[str]], ended: threading.Event) -> None:
    """Tell the trainer which jobs are to end."""
    told: set[str] = set()
    stdin = cast("IO[bytes]", child.stdin).fileno()
    while not ended.wait(ASK_SECONDS):
        with suppress(Exception):  # one that cannot be asked now can be later, or the whole task ends
            for job in set(asked()) - told:
                os.write(stdin, json.dumps({"type": "cancel", "job": job}).encode() + b"\n")
                told.add(job)


def _environment(inherited: list[str]) -> dict[str, str]:
    seen = {name: value for name, value in os.environ.items() if any(fnmatchcase(name, one) for one in inherited)}
    return seen | {"PYTHONUNBUFFERED": "1"}


@contextmanager
def _workplace(cache: Path) -> Iterator[Path]:
    """Give a folder of one's own; those of processes that were killed, in which posts lie, go."""
    work = cache / "work"
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (work / ".lock").open("w") as all_of_it:
        fcntl.flock(all_of_it, fcntl.LOCK_EX)
        for left in work.iterdir():
            if left.is_dir() and not _held(left):
                shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(dir=work))
        lock = (folder / ".lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.close()


def _held(folder: Path) -> bool:
    """Whether the process lives that made a folder."""
    try:
        with (folder / ".lock").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
