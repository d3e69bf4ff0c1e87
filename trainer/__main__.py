"""The two ways to start a trainer-side process: `python -m trainer --job FILE [--lifeline]` and `python -m trainer --speak`."""

import argparse
import logging
import os
import sys
import time
from pathlib import Path

from trainer import process
from trainer.errors import BadJob, TrainerError, failure, first_line
from trainer.protocol import Job, ProtocolError, parse


def main() -> int:
    """Run one job or the speaker; return 0 if it ended well and 1 if it did not."""
    started = time.monotonic()
    arguments = _arguments()
    emit = process.claim_stdout()
    stop = process.Stop()
    stop.install()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if arguments.lifeline:
        process.hold_lifeline()
    process.quiet_libraries()
    try:
        if arguments.speak:
            _use_threads()
            from trainer.speaking import speak

            speak(emit, stop)
            return 0
        job = _read(arguments.job)
        _use_threads()
        from trainer.train import train  # after the job was read: torch takes seconds

        emit(train(job, emit, stop.check, started))
        return 0
    except BrokenPipeError:
        return 1  # the parent is gone, there is nobody to tell
    except Exception as error:
        if not isinstance(error, TrainerError):
            logging.getLogger(__name__).exception("failed")
        elif error.__cause__:
            logging.getLogger(__name__).info("caused by", exc_info=error)
        emit(failure(error))
        return 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m trainer", description="Train one voice, or speak. Started by the bot; see trainer/protocol.py."
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--job", type=Path, metavar="FILE", help="train what this file says, and write events to stdout")
    what.add_argument("--speak", action="store_true", help="answer the requests on stdin")
    parser.add_argument("--lifeline", action="store_true", help="with --job: end with all children when stdin closes")
    arguments = parser.parse_args()
    if arguments.speak and arguments.lifeline:
        parser.error("--lifeline goes with --job: a speaker reads stdin anyway, and ends with it")
    return arguments


def _read(path: Path) -> Job:
    try:
        job = parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadJob(f"The job file {path} cannot be read ({error.strerror}).") from error
    except (UnicodeDecodeError, ProtocolError) as error:
        raise BadJob(f"The job file {path} holds no job: {first_line(error)}.") from error
    if not isinstance(job, Job):
        raise BadJob(f"The job file {path} holds a {job.type}, and a trainer takes a job.")
    return job


def _use_threads() -> None:
    """Let MYNAH_THREADS say how many threads torch uses; by default it takes every core."""
    wish = os.environ.get("MYNAH_THREADS", "")
    if wish.isdecimal() and int(wish) > 0:
        import torch

        torch.set_num_threads(int(wish))


if __name__ == "__main__":
    sys.exit(main())
