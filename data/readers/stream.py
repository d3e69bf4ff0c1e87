"""The JSON of an archive's files: `window.YTD.tweets.part0 = [...]`, streamed element by element in bounded memory."""

import codecs
import json
from collections.abc import Iterable, Iterator
from typing import Any

import ijson

from data.errors import SourceError

#: Bytes that may pass without an element's end, which bounds the longest string too; real posts take 1 to 10 kB, notes up to 150 kB.
MAX_ELEMENT = 4 << 20
#: Levels of nesting inside an element; real posts have about 8.
MAX_DEPTH = 64
#: Bytes of a manifest.
MAX_DOCUMENT = 8 << 20
#: Bytes within which the JSON must have begun.
MAX_PREFIX = 4096


def stream_array(chunks: Iterable[bytes], label: str) -> Iterator[Any]:
    """Yield the elements of the one array in a file; `label` names the file in errors.

    Raises:
        SourceError: not UTF-8, not JSON, cut short, no array, or an element past the limits.
    """
    events = ijson.sendable_list()
    parser = ijson.basic_parse_coro(events)
    builder = _Builder(label)
    since_element = 0
    try:
        for chunk in _json_bytes(chunks, label):
            parser.send(chunk)
            count = builder.count
            yield from builder.feed(events)
            del events[:]
            since_element = len(chunk) if builder.count > count else since_element + len(chunk)
            if since_element > MAX_ELEMENT:
                raise SourceError(
                    f"{label} holds an entry larger than {MAX_ELEMENT >> 20} MiB, which no post is: download the archive again."
                )
        parser.close()
        yield from builder.feed(events)
    # The C parser says JSONError for bad JSON, and SystemError or ArithmeticError for a number of thousands of digits.
    except (ijson.JSONError, ValueError, ArithmeticError, SystemError) as error:
        raise SourceError(f"{label} is cut short or is not JSON (after {builder.count:,} entries): download the archive again.") from error


def load_document(chunks: Iterable[bytes], label: str) -> Any:
    """Return the JSON document of a small file such as manifest.js, whole.

    Raises:
        SourceError: not UTF-8, not JSON, or larger than `MAX_DOCUMENT`.
    """
    data = bytearray()
    for chunk in _json_bytes(chunks, label):
        data += chunk
        if len(data) > MAX_DOCUMENT:
            raise SourceError(f"{label} is larger than {MAX_DOCUMENT >> 20} MiB, which none from X is: download the archive again.")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{label} is cut short or is not JSON: download the archive again.") from error


class _Builder:
    """Builds elements out of parse events; ijson's own builder has no bound on depth, and its paths grow with its square."""

    def __init__(self, label: str) -> None:
        self.count = 0
        self._label = label
        self._stack: list[Any] = []  # the array itself, then the containers open inside the element
        self._key = ""

    def feed(self, events: Iterable[tuple[str, Any]]) -> Iterator[Any]:
        stack = self._stack
        for event, value in events:
            if event == "map_key":
                self._key = value
            elif event in ("end_map", "end_array"):
                done = stack.pop()
                if len(stack) == 1:
                    self.count += 1
                    yield done
            else:
                node: Any = {} if event == "start_map" else [] if event == "start_array" else value
                opens = event in ("start_map", "start_array")
                if not stack and event != "start_array":
                    raise SourceError(f"{self._label} holds no list of posts: take the file as X wrote it.")
                if len(stack) > 1:
                    self._put(node)
                elif stack and not opens:
                    self.count += 1
                    yield node
                if opens:
                    stack.append(node)
                    if len(stack) > MAX_DEPTH:
                        raise SourceError(
                            f"{self._label} is nested deeper than {MAX_DEPTH} levels, which no post is: download the archive again."
                        )

    def _put(self, node: Any) -> None:
        parent = self._stack[-1]
        if isinstance(parent, dict):
            parent[self._key] = node
        else:
            parent.append(node)


def _json_bytes(chunks: Iterable[bytes], label: str) -> Iterator[bytes]:
    """Yield what follows the first `=` (or everything, where JSON begins at once), without a `;` at the end, checked to be UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    held: bytes | None = None  # the last chunk waits, because its end may be a `;`
    head = b""
    begun = False
    try:
        for chunk in chunks:
            decoder.decode(chunk)
            if not begun:
                head += chunk
                body = _after_assignment(head)
                if body is None:
                    if len(head) > MAX_PREFIX:
                        break
                    continue
                chunk = body  # noqa: PLW2901
                begun = True
            if held:
                yield held
            held = chunk
        decoder.decode(b"", final=begun)
    except UnicodeDecodeError as error:
        raise SourceError(f"{label} is not UTF-8: take the file as X wrote it, or save it as UTF-8.") from error
    if held is None:
        raise SourceError(f"{label} does not begin as a file of X's archive does (`window.YTD... = [`): take the file as X wrote it.")
    yield held.rstrip(b" \t\r\n;")


def _after_assignment(head: bytes) -> bytes | None:
    start = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if start[:1] in (b"[", b"{"):
        return start
    _, sign, body = start[:MAX_PREFIX].partition(b"=")
    return body + start[MAX_PREFIX:] if sign else None
