"""A trainer that stays and trains nothing: what it does with a job is told by the name of the job's author, digits left out.

With `--cluster` it is one that is connected to a cluster, or cannot be: the address says which.
"""

import hashlib
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from trainer.protocol import Cancel, Done, Failed, Job, Message, Order, Ready, Stage, parse


def say(message: Message) -> None:
    print(message.to_json(), flush=True)


def manner(job: Job) -> str:
    return job.train[0].author.rstrip("0123456789")


def begin(job: Job) -> bool:
    """Do what the job's author stands for; say whether the job has ended by that."""
    say(Stage("train", job=job.id))
    checkpoint = Path(job.output) / "checkpoint.safetensors"
    match manner(job):
        case "die":
            sys.exit("the reason in the log")
        case "vanish":
            os.kill(os.getpid(), signal.SIGKILL)
        case "babble":
            print("a library's print", flush=True)
        case "stray":
            say(Stage("train", job="of nobody"))
        case "hasty":
            say(Ready())
        case "refuse":
            say(Failed("bad_job", "The job file cannot be read."))
        case "leak":
            say(Failed("out_of_memory", "Memory was full.", job=job.id))
            return True
        case "thin":
            say(Failed("too_little_text", "There is too little text.", job=job.id))
            return True
        case "lose":
            say(Failed("lost", "The node gpu-2 was lost: it begins anew.", job=job.id))
            return True
        case "parent":
            child = subprocess.Popen(["sleep", "300"], stdout=subprocess.DEVNULL)
            done(job, child=child.pid)
            return True
        case "resume" if not checkpoint.exists():
            checkpoint.write_bytes(b"half of it")
        case "wait" | "deaf":
            pass
        case _:
            done(job, resumed=checkpoint.exists())
            return True
    return False


def done(job: Job, **details: object) -> None:
    weights = Path(job.output) / "adapter.safetensors"
    weights.write_bytes(f"weights of {job.id}".encode())
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    say(
        Done(
            str(weights),
            digest,
            weights.stat().st_size,
            5.5,
            4.5,
            1.0,
            [],
            {"pid": os.getpid(), "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"), **details},
            job=job.id,
        )
    )


def main() -> None:
    under_way: dict[str, Job] = {}
    if "--cluster" in sys.argv:
        cluster = parse(sys.argv[sys.argv.index("--cluster") + 1])
        if cluster.address.startswith("nowhere"):
            say(Failed("lost", "Nothing answers: start Ray."))
            sys.exit(1)
        say(Ready())
    for line in sys.stdin:
        message = parse(line)
        if isinstance(message, Order):
            jobs = [parse(Path(file).read_text()) for file in message.files]
            if any(manner(job) == "deaf" for job in jobs):
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            under_way = {job.id: job for job in jobs}
            for job in jobs:
                if begin(job):
                    del under_way[job.id]
        if isinstance(message, Cancel) and manner(under_way[message.job]) != "deaf":
            del under_way[message.job]
            say(Failed("cancelled", "It was cancelled.", job=message.job))
        if not under_way:
            say(Ready())


with suppress(BrokenPipeError):
    main()
os.killpg(0, signal.SIGKILL)  # stdin ended, or nobody reads stdout: the owner is gone
