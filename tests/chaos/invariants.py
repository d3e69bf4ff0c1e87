"""The invariants of invariants.sql, asked of a database and of what people were told."""

import hashlib
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SQL = Path(__file__).with_name("invariants.sql")
SHOWN = 5


@dataclass(frozen=True)
class Invariant:
    """What must hold, and a query that returns where it does not."""

    name: str
    sentence: str
    query: str


@dataclass(frozen=True)
class Violation:
    """An invariant that does not hold."""

    invariant: Invariant
    rows: list[dict[str, Any]]

    def __str__(self) -> str:
        shown = "; ".join(str(row) for row in self.rows[:SHOWN])
        return f"{self.invariant.name} ({len(self.rows)}): not so: {self.invariant.sentence} {shown}"


class _Sha256OfAll:
    """An aggregate: the hash of all pieces, in the order in which they come."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def step(self, piece: bytes) -> None:
        self._digest.update(piece)

    def finalize(self) -> str:
        return self._digest.hexdigest()


def invariants() -> list[Invariant]:
    """Return all of them, as they stand in the file."""
    text = SQL.read_text(encoding="utf-8")
    return [Invariant(*found) for found in re.findall(r"^-- (\w+): (.+)\n(SELECT [^;]+);$", text, re.MULTILINE)]


def violations(database: Path, ledger: Path) -> list[Violation]:
    """Ask them all; `ledger` is a database of ledger.sql."""
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as db:
        db.row_factory = sqlite3.Row
        db.create_aggregate("sha256_of_all", 1, _Sha256OfAll)  # type: ignore[arg-type]
        db.execute("ATTACH ? AS seen", [str(ledger)])
        asked = ((invariant, [dict(row) for row in db.execute(invariant.query)]) for invariant in invariants())
        return [Violation(invariant, rows) for invariant, rows in asked if rows]
