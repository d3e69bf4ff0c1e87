"""What the moderators of each server in Discord set there, and who changed what when."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from sqlite_utils import Database

from data.store import insert, now

LISTS = ("channels", "train_roles", "post_roles")


@dataclass(frozen=True)
class ServerSettings:
    """What is set in one server; the defaults are those of a server where nothing was set. Ids are Discord's."""

    channels: tuple[int, ...] = ()
    """In which Mynah may be used, with their threads; empty: in all."""
    train_roles: tuple[int, ...] = ()
    """Whose members may train; empty: everybody."""
    post_roles: tuple[int, ...] = ()
    """Whose members may send lines to X; empty: members with the permission Manage Server."""
    trainings_a_day: int | None = None
    """Of a member; None, here and in the next two: as config.toml says."""
    trainings_a_day_server: int | None = None
    """Of the members together."""
    lines_a_minute: int | None = None
    """Of a member."""
    prefix_commands: bool = True
    """Whether typed commands are obeyed."""
    answer_chance: float = 0.0
    """How often (0 to 1) a message that mentions nobody is answered in a channel that has a voice."""
    language: Literal["auto", "en", "ja"] = "auto"
    """Of Mynah's own words that all can see; auto: the server's in Discord. What one member alone sees is in his own."""
    profanity: Literal["any", "mild", "none"] | None = None
    """What voices may say here at most; None: as config.toml says."""


@dataclass(frozen=True)
class Change:
    """One change of one setting."""

    name: str
    value: Any
    changed_by: str
    created_at: str


def get(db: Database, server: int | None) -> ServerSettings:
    """Return what is set in a server; the defaults where nothing is, and outside servers (None)."""
    names = ServerSettings.__dataclass_fields__
    for row in db.query("SELECT * FROM servers WHERE id = ?", [server]):
        lists = {name: tuple(json.loads(row[name])) for name in LISTS}
        return ServerSettings(**{name: row[name] for name in names} | lists | {"prefix_commands": bool(row["prefix_commands"])})
    return ServerSettings()


def change(db: Database, server: int, by: str, /, **wanted: Any) -> ServerSettings:
    """Set some of a server's settings, named as in ServerSettings, and write down who changed what; return them all.

    Raises:
        sqlite3.IntegrityError: a value is none that the setting can have; nothing was changed.
    """
    before, stamp = get(db, server), now()
    changed = {name: value for name, value in wanted.items() if getattr(before, name) != value}
    if not changed:
        return before
    db.conn.execute("INSERT OR IGNORE INTO servers (id) VALUES (?)", [server])
    db.table("servers").update(server, {name: json.dumps(value) if name in LISTS else value for name, value in changed.items()})
    for name, value in changed.items():
        row = {"server": server, "name": name, "value": json.dumps(value), "changed_by": by, "created_at": stamp}
        insert(db, "server_changes", row)
    return get(db, server)


def changes(db: Database, server: int, most: int) -> list[Change]:
    """Return the last changes in a server, the newest first."""
    rows = db.query(
        "SELECT name, value, changed_by, created_at FROM server_changes WHERE server = ? ORDER BY id DESC LIMIT ?", [server, most]
    )
    return [Change(**row | {"value": json.loads(row["value"])}) for row in rows]


def voice_roles(db: Database, server: int, voice: str) -> tuple[int, ...]:
    """Return the roles whose members alone may use a voice in a server; none: everybody may."""
    for row in db.query("SELECT roles FROM voice_roles WHERE server = ? AND voice = ?", [server, voice]):
        return tuple(json.loads(row["roles"]))
    return ()


def set_voice_roles(db: Database, server: int, voice: str, roles: Collection[int], by: str) -> None:
    """Let the members of these roles alone use a voice, which must exist, in a server; of none: everybody."""
    if not roles:
        db.conn.execute("DELETE FROM voice_roles WHERE server = ? AND voice = ?", [server, voice])
        return
    row = {"server": server, "voice": voice, "roles": json.dumps(list(roles)), "set_by": by, "created_at": now()}
    db.table("voice_roles").upsert(row, pk=("server", "voice"))
