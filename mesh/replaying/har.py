"""HTTP archives, as browsers and proxies write them: requests as clients sent them, in one JSON document."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import orjson

from authz.attributes import Attributes
from authz.decision import Verdict
from authz.values import ascii_lower
from mesh.replaying.reading import Defaults, NoRecordError, Reading
from mesh.replaying.record import Record, Recorded
from mesh.replaying.stream import BrokenStreamError, Stream
from parser.request import Destination, RequestDocument

__all__ = ["IS_HAR", "read_har"]

IS_HAR = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*"log"\s*:\s*\{')
"""How one begins."""

LARGEST = 64 * 1024 * 1024
"""Bytes of one entry. Those that are larger, for the answer's body is in them, are read over."""

_URL = re.compile(r"(https?|wss?)://([^/?#]*)([^#]*)", re.IGNORECASE)
_SCHEMES = {"ws": "http", "wss": "https"}
_MARK = re.compile(rb'["{}\[\]]')
_LONGEST_KEY = 16
_END_OF_TEXT = re.compile(rb'["\\]')
# What the proxy's filters answer. A 403 of another text is the application's, or an authorizer's.
_RBAC_BODY = "RBAC: access denied"
_JWT_BODY = "Jwt"


def read_har(stream: Stream, reading: Reading, defaults: Defaults) -> Iterator[Record]:
    """The records of an archive, one for each of its entries."""
    try:
        for entry in _entries(stream):
            reading.line += 1
            try:
                yield _record(_read(entry), defaults)
            except NoRecordError as error:
                reading.skip(error)
    except BrokenStreamError as error:
        reading.cut_off(f"{error}, after entry {reading.line}")


def _entries(stream: Stream) -> Iterator[bytes | None]:
    archive = _Archive()
    for piece in stream.pieces():
        yield from archive.entries(piece)
    if not archive.whole:
        raise BrokenStreamError("the archive ends in the middle")


def _read(entry: bytes | None) -> object:
    if entry is None:
        raise NoRecordError("the entry is larger than an entry can be")
    try:
        return orjson.loads(entry)
    except orjson.JSONDecodeError as error:
        raise NoRecordError("no JSON") from error


class _Archive:
    """Finds the entries in the text of an archive, which comes piece by piece, without keeping anything else of it."""

    def __init__(self) -> None:
        self._depth = 0
        self._began = False
        self._in_text = self._escaped = False
        self._text = b""
        """How the last text outside of entries begins."""
        self._entries_at: int | None = None
        self._entry: bytearray | None = None
        self._overlarge = False

    @property
    def whole(self) -> bool:
        """Whether the document is at its end."""
        return self._began and self._depth == 0

    def entries(self, piece: bytes) -> Iterator[bytes | None]:
        """Those that end in this piece, each from brace to brace; none in the place of one that is too large to keep."""
        position = since = 0
        while position < len(piece):
            if self._in_text:
                position = self._text_goes_on(piece, position)
                continue
            found = _MARK.search(piece, position)
            if found is None:
                break
            position = found.end()
            match found[0]:
                case b'"':
                    self._in_text, self._text = True, b""
                case b"{" | b"[" as mark:
                    if mark == b"[" and self._depth == 2 and self._text == b"entries":
                        self._entries_at = 3
                    elif self._depth == self._entries_at and self._entry is None:
                        self._entry, since = bytearray(), found.start()
                    self._depth += 1
                    self._began = True
                case _:
                    self._depth -= 1
                    if self._entry is not None and self._depth == self._entries_at:
                        self._keep(piece[since:position])
                        yield None if self._overlarge else bytes(self._entry)
                        self._entry, self._overlarge = None, False
                    elif self._entries_at is not None and self._depth < self._entries_at:
                        self._entries_at = None
        self._keep(piece[since:])

    def _text_goes_on(self, piece: bytes, position: int) -> int:
        """Where in the piece there is something to look at again: behind what is escaped, or behind the text."""
        if self._escaped:
            self._escaped = False
            return position + 1
        found = _END_OF_TEXT.search(piece, position)
        end = len(piece) if found is None else found.end()
        if self._entry is None and len(self._text) < _LONGEST_KEY:
            self._text += piece[position : end if found is None else found.start()][:_LONGEST_KEY]
        if found is not None:
            self._escaped = found[0] == b"\\"
            self._in_text = self._escaped
        return end

    def _keep(self, part: bytes) -> None:
        if self._entry is None:
            return
        if len(self._entry) + len(part) > LARGEST:
            self._overlarge = True
            self._entry.clear()
        if not self._overlarge:
            self._entry += part


def _record(data: object, defaults: Defaults) -> Record:
    entry = _mapping(data, "an entry")
    request = _mapping(entry.get("request"), "`request`")
    url = _URL.match(_text(request.get("url"), "`request.url`"))
    if url is None:
        raise NoRecordError("`request.url` is no address of HTTP")
    scheme, authority, target = url[1].lower(), url[2].rpartition("@")[2], url[3]
    headers: dict[str, tuple[str, ...]] = {}
    host = authority
    for line in _items(request.get("headers"), "`request.headers`"):
        name = ascii_lower(_text(line.get("name"), "the name of a header"))
        value = _text(line.get("value"), "the value of a header")
        if name in ("host", ":authority"):
            host = value
        elif not name.startswith(":"):
            headers[name] = (*headers.get(name, ()), value)
    return Record(
        document=RequestDocument(
            destination=Destination(workload=defaults.workload),
            attributes=Attributes(
                identities=() if defaults.principal is None else (defaults.principal,),
                method=_text(request.get("method"), "`request.method`"),
                path=target if target.startswith("/") else f"/{target}",
                host=host,
                scheme=_SCHEMES.get(scheme, scheme),
                headers=headers,
            ),
        ),
        recorded=_recorded(entry.get("response")),
        at=_time(entry.get("startedDateTime")),
        as_sent=True,
    )


def _recorded(response: object) -> Recorded | None:
    if not isinstance(response, Mapping) or not isinstance(status := response.get("status"), int) or status <= 0:
        return None
    if status not in (401, 403):
        return Recorded(Verdict.ALLOW)
    content = response.get("content")
    body = content.get("text") if isinstance(content, Mapping) else None
    if isinstance(body, str) and body.startswith(_RBAC_BODY if status == 403 else _JWT_BODY):
        return Recorded(Verdict.DENY, reason=_RBAC_BODY if status == 403 else "the token is not good")
    return None


def _time(value: object) -> float | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return None if moment is None or moment.tzinfo is None else moment.timestamp()


def _mapping(value: object, what: str) -> Mapping[str, Any]:
    if isinstance(value, dict):
        return value
    raise NoRecordError(f"{what} is no mapping")


def _items(value: object, what: str) -> Iterator[Mapping[str, Any]]:
    if value is None:
        return iter(())
    if isinstance(value, list):
        return (_mapping(item, f"an item of {what}") for item in value)
    raise NoRecordError(f"{what} is no list")


def _text(value: object, what: str) -> str:
    if isinstance(value, str):
        return value
    raise NoRecordError(f"{what} is no text")
