"""What the moderators of a server call a voice there, and with what it begins where nobody says with what."""

import unicodedata
from dataclasses import dataclass

from sqlite_utils import Database

from data.store import now


@dataclass(frozen=True)
class Called:
    """What is set of a voice in one server; empty: nothing is."""

    name: str = ""
    """What it is shown as; its own name stays what it is asked for by."""
    prompt: str = ""
    """What lines begin with where no prompt was given."""


def get(db: Database, server: int | None, voice: str) -> Called:
    """Return what is set of a voice in a server; nothing is outside servers (None)."""
    for row in db.query("SELECT name, prompt FROM called WHERE server = ? AND voice = ?", [server, voice]):
        return Called(**row)
    return Called()


def names(db: Database, server: int | None) -> dict[str, str]:
    """Return the voices that have another name in a server, and that name."""
    rows = db.query("SELECT voice, name FROM called WHERE server = ? AND name <> '' ORDER BY voice", [server])
    return {row["voice"]: row["name"] for row in rows}


def bearer(db: Database, server: int, name: str) -> str | None:
    """Return the voice that a name stands for in a server, its own name or the one it is called by; case and width do not matter."""
    wanted = _folded(name)
    if db["voices"].count_where("name = ?", [wanted]):
        return wanted
    return next((voice for voice, other in names(db, server).items() if _folded(other) == wanted), None)


def put(db: Database, server: int, voice: str, wanted: Called, by: str) -> None:
    """Set what is set of a voice, which must exist, in a server."""
    if wanted == Called():
        db.conn.execute("DELETE FROM called WHERE server = ? AND voice = ?", [server, voice])
        return
    row = {"server": server, "voice": voice, "name": wanted.name, "prompt": wanted.prompt, "set_by": by, "created_at": now()}
    db.table("called").upsert(row, pk=("server", "voice"))


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()
