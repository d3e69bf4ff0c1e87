"""A trainer that stays here and trains elsewhere: its orders are tasks of a Ray cluster, and what they say and make comes back.

It is a process of its own, as every trainer is, because Ray ends a process whose cluster is gone. And whatever ends this process ends
its tasks: nothing of them outlives it that could make a second result.
"""

import json
import logging
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from secrets import token_hex
from signal import SIGKILL
from typing import Any

from trainer import node, protocol
from trainer.errors import CANCELLED, BadJob, Cancelled, NoCluster, failure
from trainer.files import sha256_of, write_atomically
from trainer.process import Emit, Parent, Stop
from trainer.protocol import Cluster, Done, Failed, FromTrainer, Job, Note, Ready, parse
from trainer.versions import versions

CONNECT_SECONDS = 5.0
PROBE_SECONDS = 60.0  # a node's Ray starts a process, and that one Python
LOOK_SECONDS = 0.25
WAIT_SECONDS = 5.0
"""After so long it is said that no node is free."""
CLEAR_SECONDS = 5.0
"""So long a node may take to end its trainer and remove the folder in which posts lie."""
AHEAD = 16
"""Things that a node may have sent and nobody has taken: 64 MiB of pieces at most."""
logger = logging.getLogger(__name__)


def stay(wanted: Cluster, parent: Parent, emit: Emit, stop: Stop, read: Callable[[Path], Job]) -> None:
    """Have order after order trained, whose files `read` reads, until SIGINT comes.

    Raises:
        NoCluster: it cannot be reached, or no node of it fits.
    """
    logger.info("%s", connect(wanted))
    emit(Ready())
    with suppress(Cancelled):
        for order in parent.orders(stop):
            try:
                jobs = [read(Path(file)) for file in order.files]
            except BadJob as error:
                emit(failure(error))
            else:
                _Task(jobs, wanted, parent, emit).run()
            emit(Ready())


def connect(wanted: Cluster) -> str:
    """Connect this process to the cluster, and say what it has; each node that fits must be of the same versions.

    Raises:
        NoCluster: the text says what is wrong.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError as error:
        raise NoCluster("Ray is not installed here, and `[trainer] executor` says ray: pip install -e '.[ray]'.") from error
    if wanted.address != "auto":
        _knock(wanted.address)
    try:
        ray.init(wanted.address, namespace=node.NAMESPACE, log_to_driver=False, configure_logging=False, logging_level="ERROR")
    except Exception as error:
        why = " ".join(str(error).split())[:300].rstrip(".")
        raise NoCluster(f"The Ray cluster at {wanted.address} cannot be joined ({why}): see docs/growth.md.") from error
    return _look_at(wanted)


def _knock(address: str) -> None:
    """Fail at once where nobody listens: Ray would try for two minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        raise NoCluster(
            f"Nothing answers at {address} ({error.strerror or error}): is Ray's head node up, and [trainer.ray] right?"
        ) from error


def _look_at(wanted: Cluster) -> str:
    """Ask each node that fits for its versions."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [one for one in ray.nodes() if one["Alive"]]
    needs = {"CPU": wanted.num_cpus, "GPU": wanted.num_gpus}
    fit = [one for one in nodes if all(one["Resources"].get(name, 0) >= need for name, need in needs.items())]
    need = " and ".join(f"{count:g} {name}" for name, count in needs.items() if count)
    if not fit:
        raise NoCluster(
            f"No node of the cluster, of {len(nodes)}, has {need or 'anything'}: start one, or set [trainer.ray] num_gpus and num_cpus."
        )
    probe = ray.remote(num_cpus=0, max_retries=0)(_by_value(node.versions))
    asked = {}
    for one in fit:
        there = NodeAffinitySchedulingStrategy(one["NodeID"], soft=False)
        asked[probe.options(scheduling_strategy=there, name="mynah versions").remote(wanted.inherited)] = one["NodeManagerAddress"]
    answered = 0
    for ref in ray.wait(list(asked), num_returns=len(asked), timeout=PROBE_SECONDS)[0]:
        with suppress(ray.exceptions.RayError):  # it went away meanwhile
            if why := _mismatch(asked[ref], ray.get(ref)):
                raise NoCluster(why)
            answered += 1
    if not answered:
        raise NoCluster(f"No node of the {len(fit)} that have {need or 'room'} has answered: see Ray's logs.")
    return f"Ray {ray.__version__}, {len(nodes)} nodes; trainings fit on {answered}, which have the versions that are here"


def _mismatch(name: str, there: dict[str, str]) -> str | None:
    """Say how a node differs; None: not."""
    here = versions()
    for what, ours in here.items():
        if there.get(what) != ours:
            return (
                f"The node {name} has {what} {there.get(what, 'of another kind')}, and this machine {ours}: install the same Mynah on both."
            )
    return None


def _by_value(function: Any) -> Any:
    """Have a function of trainer/node.py sent as it stands, and not by its name: the other side may know it by another text."""
    import ray

    ray.cloudpickle.register_pickle_by_value(node)
    return function


class _Task:
    """One order as a task of the cluster."""

    def __init__(self, jobs: Sequence[Job], wanted: Cluster, parent: Parent, emit: Emit) -> None:
        self._jobs = {job.id: job for job in jobs}
        self._open = set(self._jobs)
        self._wanted = wanted
        self._parent = parent
        self._emit = emit
        self._key = token_hex(16)
        """Under which the nodes find what is to end."""
        self._asked: set[str] = set()
        self._node = ""
        """Where it is trained; empty: it waits."""
        self._pieces: dict[tuple[str, str], list[bytes]] = {}
        self._last: FromTrainer | None = None
        """The end of the last job, which is said when the node has cleared up: whoever hears it may end us, and the task with us."""

    def run(self) -> None:
        """Follow it to its end: of each job one Done or Failed is said."""
        import ray
        from ray.exceptions import OutOfMemoryError, RayTaskError
        from ray.experimental.internal_kv import _internal_kv_del

        function = ray.remote(num_returns="streaming", max_retries=0, _generator_backpressure_num_objects=AHEAD)(_by_value(node.task))
        wanted = {"num_cpus": self._wanted.num_cpus, "num_gpus": self._wanted.num_gpus, "name": f"mynah {', '.join(self._jobs)}"}
        task = function.options(**wanted).remote(self._parcel(), self._key)
        try:
            self._follow(task)
        except OutOfMemoryError:
            sentence = f"The memory of the node {self._node} ran out: train fewer voices at once, or on a larger one."
            self._end(protocol.OUT_OF_MEMORY, sentence)
        except (RayTaskError, OSError) as error:
            logger.exception("the task failed")
            failed = failure(getattr(error, "cause", None) or error)
            self._end(failed.code, failed.sentence)
        except Exception as error:  # a RayError for a node or its Ray, and what not where the head is gone
            logger.warning("the task was lost: %s", " ".join(str(error).split())[:1000])
            self._lose(f"The node {self._node} was lost" if self._node else "The cluster lost the training before a node had it")
        finally:
            with suppress(Exception):  # the cluster may be gone, and all of it with it
                ray.cancel(task, force=True)  # of one that has ended, nothing
                _internal_kv_del(self._key, namespace=node.NAMESPACE)
            if self._last:
                self._emit(self._last)

    def _parcel(self) -> node.Parcel:
        files: dict[str, dict[str, bytes]] = {}
        for job in self._jobs.values():
            found = {node.CHECKPOINT: Path(job.output) / node.CHECKPOINT} | ({node.START: Path(job.start)} if job.start else {})
            files[job.id] = {name: path.read_bytes() for name, path in found.items() if path.exists()}
        return {
            "jobs": {job.id: json.loads(job.to_json()) for job in self._jobs.values()},
            "files": files,
            "cache": self._wanted.cache,
            "inherited": self._wanted.inherited,
            "checkpoint_seconds": self._wanted.checkpoint_seconds,
        }

    def _follow(self, task: Any) -> None:
        import ray

        waited = cleared = 0.0
        while (self._open or self._node) and cleared < CLEAR_SECONDS:
            ready, _ = ray.wait([task], timeout=LOOK_SECONDS)
            self._pass_on_cancellations()
            if ready:
                try:
                    self._take(ray.get(next(task)))
                except StopIteration:
                    return
            elif not self._open:
                cleared += LOOK_SECONDS
            elif not self._node:
                if waited < WAIT_SECONDS <= waited + LOOK_SECONDS:
                    for job in self._open:
                        self._emit(Note("Waiting for a node of the cluster to be free.", job=job))
                waited += LOOK_SECONDS

    def _take(self, item: node.Item) -> None:
        match item:
            case "begun", there, name, _:
                if why := _mismatch(name, there):  # it came after the others were asked
                    logger.warning("%s", why)
                    self._lose(f"The node {name} has another Mynah than this machine")
                    return
                self._node = name
                logger.info("%s: trained on %s", ", ".join(self._jobs), name)
            case "line", line, _, _:
                self._say(parse(line))
            case "piece", (job, name), content, last:
                pieces = self._pieces.setdefault((job, name), [])
                pieces.append(content)
                if last and job not in self._open:  # a checkpoint of one that was cancelled: its folder may be gone
                    del self._pieces[job, name]
                elif last:
                    write_atomically(Path(self._jobs[job].output) / name, b"".join(self._pieces.pop((job, name))))
            case "ended", status, log, _:
                if self._open:
                    logger.warning("the trainer on %s ended with status %s; its log ends: %s", self._node, status, log)
                    self._end(protocol.DIED, self._last_word(status))

    def _say(self, message: protocol.Message) -> None:
        """Pass on what the trainer says, and of what it made where that is here."""
        if not isinstance(message, FromTrainer):
            return
        if isinstance(message, Failed) and not message.job:
            self._end(message.code, message.sentence)
        elif message.job in self._open:
            if isinstance(message, Done):
                path = Path(self._jobs[message.job].output) / node.WEIGHTS
                if not path.exists() or sha256_of(path) != message.sha256:
                    self._lose(f"The weights that came back from the node {self._node} are not those that were trained there")
                    return
                message = replace(message, weights=str(path))
            if isinstance(message, Done | Failed):
                self._open.discard(message.job)
            if self._open:
                self._emit(message)
            else:
                self._last = message

    def _pass_on_cancellations(self) -> None:
        from ray.experimental.internal_kv import _internal_kv_put

        new = {job for job in self._open if self._parent.cancelled(job)} - self._asked
        if not new:
            return
        self._asked |= new
        # Ray's own cancel would end the jobs beside them, too; and an actor to carry this would be a process for each trainer.
        _internal_kv_put(self._key, json.dumps(sorted(self._asked)).encode(), namespace=node.NAMESPACE)
        if not self._node:
            for job in new:
                self._open.discard(job)
                self._emit(Failed(protocol.CANCELLED, CANCELLED, job=job))

    def _lose(self, why: str) -> None:
        """Say of what has not ended that it is to begin again, through no fault of its own."""
        for job in sorted(self._open):
            kept = (Path(self._jobs[job].output) / node.CHECKPOINT).exists()
            sentence = f"{why}: it goes on from its last checkpoint." if kept else f"{why}: it begins anew."
            self._emit(Failed(protocol.LOST, sentence, job=job))
        self._open.clear()

    def _end(self, code: str, sentence: str) -> None:
        for job in sorted(self._open):
            self._emit(Failed(code, sentence, job=job))
        self._open.clear()

    def _last_word(self, status: int) -> str:
        if status == -SIGKILL:
            return f"The trainer on the node {self._node} was killed from outside, most often because memory ran out: train again."
        return f"The trainer on the node {self._node} ended without a result (status {status}; trainer.log has more): train again."
