"""A tracker's child that writes down what it is told, and misbehaves as its first argument says: `MANNER FILE`.

`late` is Mynah's own child over a library that does nothing; it begins when somebody writes to the pipe FILE.
"""

import json
import os
import sys
import time
from pathlib import Path
from unittest.mock import MagicMock

from bot.trackers import to_wandb

manner, file = sys.argv[1], Path(sys.argv[2])
if manner == "late":
    sys.modules["wandb"] = MagicMock()
    with file.open() as pipe:
        pipe.readline()
    to_wandb.main()
for number, line in enumerate(sys.stdin):
    message = json.loads(line)
    with file.open("a") as told:
        told.write(json.dumps({"pid": os.getpid(), **message}) + "\n")
    error = None
    match manner, message.get("type"):
        case "die", "metrics":
            sys.exit("the reason in the log")
        case "hang", "begin":
            time.sleep(300)
        case "babble", "begin":
            print("a library's print", flush=True)
            continue
        case "refuse", None:
            error = f"the key {message['key']} is refused"
        case "fail", "metrics" | "end":
            error = f"the server is gone ({number})"
    print(json.dumps({"error": error}), flush=True)
