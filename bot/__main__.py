"""The command `mynah`: turns every error into one sentence and an exit status."""

import os
import sys

import structlog
import typer

from bot.errors import MynahError
from bot.faces.terminal.cli import cli
from bot.printable import printable

INTERRUPTED = 130  # what typer makes of Ctrl-C


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0, or 1 with one sentence on stderr, never a traceback."""
    try:
        status = typer.main.get_command(cli).main(arguments, prog_name="mynah", standalone_mode=False)
        if status == INTERRUPTED:
            status = _say("Stopped.")
    except typer.TyperException as error:
        status = _say(f"{error.format_message().rstrip('.')}: `mynah --help` lists the commands.")
    except MynahError as error:
        status = _say(str(error))
    except typer.Abort:
        status = _say("Stopped.")
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except UnicodeEncodeError:
        status = _say("Something that was typed or is to be shown does not fit this terminal's encoding: use UTF-8.")
    except Exception as error:
        structlog.get_logger().exception("command failed")
        status = _say(f"Something went wrong that should not ({type(error).__name__}); mynah.log in the data folder has the details.")
    sys.exit(status or 0)


def _say(sentence: str) -> int:
    print(" ".join(printable(sentence).split()), file=sys.stderr)
    return 1


if __name__ == "__main__":
    main()
