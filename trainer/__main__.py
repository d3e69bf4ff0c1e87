"""The ways to start a trainer-side process: `--job FILE [FILE ...] [--lifeline]`, `--stay [--cluster CLUSTER]`, `--speak`, `--carry FILE`.

`--cluster CLUSTER` alone says whether the cluster is there, and `--version` what would train here.
"""

import argparse
import json
import logging
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from trainer import process
from trainer.errors import BadJob, Cancelled, failure, first_line, tell_log
from trainer.process import Emit, Parent, Stop
from trainer.protocol import Cluster, Export, Import, Job, Message, Note, ProtocolError, Ready, parse
from trainer.versions import versions


def main() -> int:
    """Run jobs or the speaker; return 0 if all ended well and 1 if not."""
    started = time.monotonic()
    arguments = _arguments()
    if arguments.version:
        print(json.dumps(versions()))
        return 0
    emit = process.claim_stdout()
    stop = Stop()
    stop.install()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Harmless("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    process.quiet_libraries()
    try:
        if arguments.speak:
            with process.imports():
                from trainer.speaking import speak

            speak(emit, stop, arguments.memory << 20, integers=arguments.precision == "auto")
            return 0
        if arguments.cluster:
            _afar(arguments.cluster, emit, stop, stay=arguments.stay)
            return 0
        if arguments.stay:
            _stay(Parent(), emit, stop)
            return 0
        if arguments.carry:
            return _carry(arguments.carry, Parent() if arguments.lifeline else None, emit, stop)
        return _once(arguments.job, Parent() if arguments.lifeline else None, emit, stop, started)
    except BrokenPipeError:
        return 1  # the parent is gone, there is nobody to tell
    except Exception as error:
        tell_log(error)
        emit(failure(error))
        return 1


class _Harmless(logging.Formatter):
    """Spells out what of a stranger's file would steer a terminal, and lets only the first line of a record stand flush."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record).replace("\n", "\n    ")
        return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def _once(files: Sequence[Path], parent: Parent | None, emit: Emit, stop: Stop, started: float) -> int:
    jobs = [_read(file) for file in files]
    with process.imports():  # after the jobs were read: torch takes seconds
        from trainer.train import Bases, train

    done = train(jobs, Bases(), emit, stop.check, cancelled=parent.cancelled if parent else lambda _: False, started=started)
    return 0 if done == len(jobs) else 1


def _carry(file: Path, _parent: Parent | None, emit: Emit, stop: Stop) -> int:
    order = _parsed(file)
    if not isinstance(order, Export | Import):
        raise BadJob(f"The file {file} holds a {order.type}, and a carrier takes an export or an import.")
    with process.imports():  # after the order was read: torch takes seconds
        from trainer.exporting import export_model
        from trainer.importing import import_model

    emit(export_model(order, stop.check) if isinstance(order, Export) else import_model(order, stop.check))
    return 0


def _stay(parent: Parent, emit: Emit, stop: Stop) -> None:
    """Train order after order, and keep the base in memory between them, until SIGINT comes."""
    with process.imports():
        from trainer.train import Bases, train

    kept = Bases()
    with suppress(Cancelled):
        for order in parent.orders(stop):
            started = time.monotonic()
            try:
                jobs = [_read(Path(file)) for file in order.files]
            except BadJob as error:
                emit(failure(error))
            else:
                train(jobs, kept, emit, stop.check, cancelled=parent.cancelled, started=started)
            emit(Ready())


def _afar(wanted: str, emit: Emit, stop: Stop, *, stay: bool) -> None:
    """Have orders trained on a cluster, or only say what it has."""
    from trainer import cluster

    found = parse(wanted)
    if not isinstance(found, Cluster):
        raise BadJob(f"--cluster takes a cluster, and not a {found.type}.")
    if stay:
        cluster.stay(found, Parent(), emit, stop, _read)
    else:
        emit(Note(cluster.connect(found)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m trainer", description="Train voices, speak, or carry models. Started by the bot; see trainer/protocol.py."
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--job", type=Path, nargs="+", metavar="FILE", help="train what these files say, at once; events go to stdout")
    what.add_argument("--stay", action="store_true", help="train what the orders on stdin name, until it ends")
    what.add_argument("--speak", action="store_true", help="answer the requests on stdin")
    what.add_argument("--carry", type=Path, metavar="FILE", help="export or import the model that this file says")
    what.add_argument("--version", action="store_true", help="print the hash of the trainer's sources, and the versions it stands on")
    parser.add_argument("--cluster", metavar="JSON", help="with --stay: train on a cluster of Ray's; alone: say what it has")
    parser.add_argument(
        "--lifeline", action="store_true", help="with --job or --carry: hear cancellations on stdin, and end when it closes"
    )
    parser.add_argument(
        "--memory", type=int, default=4096, metavar="MIB", help="with --speak: most memory of bases and voices that are kept"
    )
    parser.add_argument(
        "--precision", choices=("auto", "float32"), default="auto", help="with --speak: auto multiplies 8-bit integers where that pays"
    )
    arguments = parser.parse_args()
    if not (arguments.job or arguments.stay or arguments.speak or arguments.carry or arguments.version or arguments.cluster):
        parser.error("one of --job, --stay, --speak, --carry, --cluster and --version is needed")
    if arguments.cluster and (arguments.job or arguments.speak or arguments.carry):
        parser.error("--cluster goes with --stay, or alone")
    if arguments.lifeline and not (arguments.job or arguments.carry):
        parser.error("--lifeline goes with --job or --carry: the others read stdin anyway, and end with it")
    return arguments


def _read(path: Path) -> Job:
    job = _parsed(path)
    if not isinstance(job, Job):
        raise BadJob(f"The job file {path} holds a {job.type}, and a trainer takes a job.")
    return job


def _parsed(path: Path) -> Message:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadJob(f"The job file {path} cannot be read ({error.strerror}).") from error
    except (UnicodeDecodeError, ProtocolError) as error:
        raise BadJob(f"The job file {path} holds no job: {first_line(error)}.") from error


if __name__ == "__main__":
    sys.exit(main())
