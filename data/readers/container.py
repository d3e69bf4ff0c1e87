"""The named members of a zip, a folder or a lone file, read chunk by chunk through limits and never written to disk."""

import io
import os
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from data.errors import SourceError
from data.readers.fields import shown

CHUNK = 1 << 16  # bytes
#: Bytes that one container may produce in all; an account of a million posts makes about 1.2 GB.
MAX_TOTAL = 2 << 30
#: Characters of posts that a reader keeps in memory, up to four bytes each: a million posts of 268.
MAX_KEPT = 1 << 28
#: Bytes of a zip's list of members, which is read whole: some 250,000 of X's, whose names are long.
MAX_DIRECTORY = 32 << 20
#: Bytes produced for each byte compressed, judged once a member has produced `RATIO_FROM`; X's own files reach about 15.
MAX_RATIO = 200
RATIO_FROM = 16 << 20

_ENCRYPTED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class Room:
    """How much text of one source a reader may still keep in memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._left = MAX_KEPT

    def keep(self, characters: int) -> None:
        """Count characters that the reader keeps.

        Raises:
            SourceError: they are too many.
        """
        self._left -= characters
        if self._left < 0:
            raise SourceError(f"{shown(self._path)} holds more text than an account ever wrote: import its files in smaller parts.")


class Container:
    """Members by name; names use `/`. A context manager, because a zip stays open while it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._left = MAX_TOTAL
        self.room = Room(path)
        self._open = ExitStack()  # a reader that stops half way leaves its member open

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close whatever is open."""
        self._open.close()

    def names(self) -> list[str]:
        """Return the names of the regular files in it, sorted."""
        raise NotImplementedError

    def label(self, name: str) -> str:
        """Return how an error names this member."""
        return f"{shown(Path(name))} in {shown(self.path)}"

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the bytes of one member, at most `CHUNK` at a time.

        Raises:
            SourceError: it is damaged, encrypted, or larger than the limits.
        """
        for chunk in self._read(name):
            self._left -= len(chunk)
            if self._left < 0:
                raise SourceError(
                    f"{shown(self.path)} unpacks to more than {MAX_TOTAL >> 30} GiB of posts: import its files in smaller parts."
                )
            yield chunk

    def _read(self, name: str) -> Iterator[bytes]:
        raise NotImplementedError


class FileContainer(Container):
    """One file that is its only member."""

    def names(self) -> list[str]:  # noqa: D102
        return [self.path.name]

    def label(self, name: str) -> str:  # noqa: ARG002, D102
        return shown(self.path)

    def _read(self, name: str) -> Iterator[bytes]:  # noqa: ARG002
        with self._open.enter_context(self.path.open("rb")) as file:
            yield from iter(lambda: file.read(CHUNK), b"")


class FolderContainer(Container):
    """An unpacked archive; only the places where one keeps its posts are looked at, and no link in it is followed."""

    def names(self) -> list[str]:  # noqa: D102
        return sorted(path.relative_to(self.path).as_posix() for path in self._files(self.path, 0))

    def _files(self, folder: Path, depth: int) -> Iterator[Path]:
        with os.scandir(folder) as entries:
            for entry in entries:
                # tweets_media alone may hold a hundred thousand files: past the first level only these names can lead to posts.
                if entry.is_dir(follow_symlinks=False):
                    if depth == 0 or (depth < 4 and entry.name in {"data", "js", "tweets"}):
                        yield from self._files(Path(entry.path), depth + 1)
                elif entry.is_file(follow_symlinks=False):
                    yield Path(entry.path)

    def _read(self, name: str) -> Iterator[bytes]:
        with self._open.enter_context((self.path / name).open("rb")) as file:
            yield from iter(lambda: file.read(CHUNK), b"")


class _Bounded(io.BufferedReader):
    """A zip's file, of which zipfile reads the list of members at once, whatever its size."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_DIRECTORY:
            raise SourceError(f"{shown(Path(self.name))} lists more files than a zip from X does: unpack it and import the folder.")
        return super().read(size)


class ZipContainer(Container):
    """A zip file; what it says of sizes is believed only when it speaks against it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            self._zip = self._open.enter_context(zipfile.ZipFile(self._open.enter_context(_Bounded(io.FileIO(path)))))
        except Exception as error:  # zipfile raises a dozen kinds for damaged bytes, struct's and unicode's among them
            self.close()
            if isinstance(error, PermissionError | SourceError):
                raise
            raise self._damaged() from error
        # Some Windows tools write `\` between folders.
        self._infos = {info.filename.replace("\\", "/"): info for info in self._zip.infolist() if not info.filename.endswith("/")}

    def names(self) -> list[str]:  # noqa: D102
        return sorted(self._infos)

    def _read(self, name: str) -> Iterator[bytes]:
        info = self._infos[name]
        if info.flag_bits & _ENCRYPTED:
            raise SourceError(f"{shown(self.path)} is encrypted: unpack it with its password and import the folder.")
        if info.compress_type not in _METHODS:  # zipfile unpacks the others without a bound on what one read produces
            raise SourceError(f"{shown(self.path)} is packed with a method that X does not use: unpack it and import the folder.")
        if info.file_size > self._left:
            raise self._bomb()
        packed = max(1, min(info.compress_size, self.path.stat().st_size))
        produced = 0
        with self._open.enter_context(self._opened(info)) as member:
            while chunk := self._next(member):
                produced += len(chunk)
                if produced > RATIO_FROM and produced > MAX_RATIO * packed:
                    raise self._bomb()
                yield chunk

    def _opened(self, info: zipfile.ZipInfo) -> IO[bytes]:
        try:
            return self._zip.open(info)
        except Exception as error:
            raise self._damaged() from error

    def _next(self, member: IO[bytes]) -> bytes:
        try:
            return member.read(CHUNK)
        except Exception as error:  # also the checksum's BadZipFile at the member's end
            raise self._damaged() from error

    def _damaged(self) -> SourceError:
        return SourceError(f"{shown(self.path)} is not a whole zip file, cut short or damaged on the way: download it again.")

    def _bomb(self) -> SourceError:
        return SourceError(f"{shown(self.path)} unpacks to far more than a zip from X does: download it from X again.")
