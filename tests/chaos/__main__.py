"""The long form: `python -m tests.chaos [--seed N] [--minutes 15] [--light] [--keep FOLDER]` (`make chaos`).

The real trainer and speaker on the tiny base, unless `--light`. The same seed makes the same people do the same and kills the same parts
after the same pauses; what is cut off by that is this machine's chance. It ends with a table, and with status 1 if anything was lost.
"""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
from pathlib import Path

from tests.chaos.chaos import Plan, chaos


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.randrange(10_000), help="drawn and printed where none is given")
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--light", action="store_true", help="children that need no model: more of everything in the same time")
    parser.add_argument("--keep", type=Path, help="an empty folder for the database and the logs, which stay")
    arguments = parser.parse_args()
    shared = {"seed": arguments.seed, "seconds": 60 * arguments.minutes, "rest": 180.0}
    if arguments.light:
        plan = Plan(module="tests.chaos.light", pause=(0.5, 4.0), **shared)
    else:
        plan = Plan(module="bot", pause=(3.0, 12.0), pace=3.0, posts=400, patience=60.0, **shared)
    if arguments.keep and arguments.keep.exists() and any(arguments.keep.iterdir()):
        parser.error(f"{arguments.keep} is not empty: name a folder that is, or that is not there yet")
    print(f"chaos of {arguments.minutes:g} minutes, seed {arguments.seed} (make chaos SEED={arguments.seed} draws the same)", flush=True)
    folder = (arguments.keep or Path(tempfile.mkdtemp(prefix="mynah-chaos-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    kept = True
    try:
        outcome = asyncio.run(chaos(folder, plan))
        print(outcome)
        kept = bool(arguments.keep or outcome.lost)
    finally:
        if kept:
            print(f"The database, the ledger of what was told, and the logs are in {folder}.")
        else:
            shutil.rmtree(folder)
    return 1 if outcome.lost else 0


if __name__ == "__main__":
    sys.exit(main())
