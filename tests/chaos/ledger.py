"""What people were told, written down by whoever plays them: nothing of it may be lost."""

import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

SCHEMA = Path(__file__).with_name("ledger.sql")


class Ledger:
    """A small database of its own, which the invariants are asked of beside Mynah's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.executescript(SCHEMA.read_text(encoding="utf-8"))
        self.tally: Counter[str] = Counter()
        """What was tried and what came of it, for the table at the end."""

    def note(self, table: str, *row: Any) -> None:
        """Write down one thing."""
        self._db.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)

    def count(self, table: str, where: str = "1") -> int:
        """Return how many things there are."""
        (number,) = self._db.execute(f"SELECT count(*) FROM {table} WHERE {where}").fetchone()
        return int(number)

    def names(self, query: str) -> list[Any]:
        """Return the first column of what a query finds."""
        return [row[0] for row in self._db.execute(query)]

    def close(self) -> None:
        self._db.close()
