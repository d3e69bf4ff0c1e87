"""What the command line does to the data folder as a whole: backups, what can go, and the token that opens the operator's page."""

from dataclasses import asdict
from pathlib import Path

from rich.text import Text

from bot.app import Mynah
from bot.errors import SettingsError
from bot.faces.terminal.actions import Answer
from bot.faces.words import counted
from bot.lock import Lead
from bot.services import backups, garbage
from bot.settings import Settings
from data.backups import Contents


def backup(settings: Settings, file: Path) -> Answer:
    """Write a proven backup."""
    made = backups.back_up(settings, file)
    said = f"{made.file} holds {_held(made.contents)}, in {made.bytes / 1e6:.1f} MB; it was read back and is sound."
    tokens = sorted(path.stem for path in (settings.data_dir / "x-tokens").glob("*.json"))
    if tokens:
        said += f"\nThe tokens of {', '.join(tokens)} on X are not in it: they stay in {settings.data_dir / 'x-tokens'} (docs/x.md)."
    return Answer({"file": str(made.file), "bytes": made.bytes, "without_tokens": tokens} | asdict(made.contents), Text(said))


def restore(settings: Settings, file: Path) -> Answer:
    """Put a backup back."""
    done = backups.restore(settings, file)
    said = [f"{settings.database} is {file.name} now: {_held(done.contents)}."]
    if done.kept:
        said.append(f"What was there before lies in {done.kept}: delete it once all is well.")
    if not done.known:
        said.append("What happened since the backup is not known: opt out again who has, and look at X for what was posted.")
    if done.paused:
        said.append("Posting is paused, for what waits may have been posted since: look at `mynah posts`, then `mynah resume`.")
    document = {"kept": done.kept and str(done.kept), "known": done.known, "paused": done.paused} | asdict(done.contents)
    return Answer(document, Text("\n".join(said)))


def page(settings: Settings) -> Answer:
    """Return the address of the operator's page, with the token that opens it.

    Raises:
        SettingsError: the page is off, or Mynah does not run: somebody else may have the port then, who is not to be given the token.
    """
    from bot.door import HOST  # with what serves it, which no other command needs
    from bot.faces.web.entry import SIGN_IN, token_of

    if not settings.web.port:
        raise SettingsError("The page is off: set web.port in config.toml, to 8023 for instance, and start `mynah run` anew.")
    with Lead(settings.data_dir / "mynah.lock") as lead:
        if lead.take():
            raise SettingsError("Mynah does not run, so there is no page to open: start `mynah run` first.")
    # Behind the # it is sent to no server, and stands in no log.
    address = f"http://{HOST}:{settings.web.port}{SIGN_IN}#{token_of(settings.data_dir)}"
    return Answer({"address": address}, Text(address))


NAMED = 12  # of one kind


async def collect(app: Mynah, *, dry: bool) -> Answer:
    """Remove garbage."""
    found = await garbage.collect(app.store, app.settings, dry=dry)
    total = sum(waste.bytes for waste in found)
    lines = [f"{waste.number:,} {waste.kind}, {waste.bytes / 1e6:.1f} MB{_named(waste.names)}" for waste in found]
    end = f"{'That would free' if dry else 'That freed'} about {total / 1e6:.1f} MB." if found else "There is nothing to remove."
    return Answer({"dry_run": dry, "bytes": total, "removed": [asdict(waste) for waste in found]}, Text("\n".join([*lines, end])))


def _named(names: tuple[str, ...]) -> str:
    more = ", …" if len(names) > NAMED else ""
    return f": {', '.join(names[:NAMED])}{more}" if names else ""


def _held(contents: Contents) -> str:
    voices, versions, posts = (counted(number, table) for table, number in asdict(contents).items())
    return f"{voices} in {versions} and {posts}"
