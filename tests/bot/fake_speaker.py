"""A speaker that draws nothing: what it does with a request is told by the request's prompt. Its argument is a folder to remember in."""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from trainer.protocol import Cancel, Failed, Line, Message, SpeechRequest, Spoken, parse

FOLDER = Path(sys.argv[1])


def say(message: Message) -> None:
    print(message.to_json(), flush=True)


def note(what: str) -> None:
    with (FOLDER / "notes").open("a") as file:
        file.write(what + "\n")


def lines(request: SpeechRequest, count: int) -> None:
    for index in range(count):
        say(Line(request.id, index, f"{request.prompt} {index} of {os.getpid()}", True, -1.0))


def answer(request: SpeechRequest) -> None:
    match request.prompt:
        case "die":
            lines(request, 1)
            os.kill(os.getpid(), signal.SIGKILL)
        case "die once" if not (FOLDER / "died").exists():
            (FOLDER / "died").touch()
            lines(request, 1)
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            signal.pause()
        case "speak and hang":
            lines(request, 1)
            signal.pause()
        case "never":
            return
        case "babble":
            print("a library's print", flush=True)
        case "refuse":
            say(Failed("bad_request", "That is too much.", id=request.id))
        case "damaged":
            say(Failed("bad_weights", "They differ.", id=request.id))
        case _:
            lines(request, request.count)
            say(Spoken(request.id))


note(f"started {os.getpid()}")
with suppress(BrokenPipeError):
    for text in sys.stdin:
        message = parse(text)
        if isinstance(message, Cancel):
            note(f"cancel {message.job}")
        elif isinstance(message, SpeechRequest):
            answer(message)
