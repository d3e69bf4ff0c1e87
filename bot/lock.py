"""The lock that names the one process which runs trainers, the speaker and posts."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self


class Lead:
    """Held by the process that does the work; the kernel frees it when that process dies, however it dies."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    @property
    def held(self) -> bool:
        """This process is the one."""
        return self._file is not None

    def take(self) -> bool:
        """Try to become the one process; say whether it is so now."""
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
                return False
            os.ftruncate(file, 0)
            os.write(file, f"{os.getpid()}\n".encode())  # for a person who looks; nothing reads it
            self._file = file
        return True

    def give_up(self) -> None:
        """Let another process take it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.give_up()
