"""A tracker's child that writes down what it is told, and misbehaves as its first argument says: `MANNER FILE`."""

import json
import os
import sys
import time
from pathlib import Path

manner, file = sys.argv[1], Path(sys.argv[2])
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
