"""A request as a line for a shell, with its secrets left out."""

import re
import shlex
from collections.abc import Mapping
from typing import NamedTuple

from authz.secrecy import SECRET_HEADERS
from authz.values import ascii_lower
from mesh.testing.sent import HttpVersion, Sent

__all__ = ["curl_of"]

_PLAIN_IN_QUOTES = re.compile(r"[^\"$`\\!\x00-\x1f\x7f-\U0010ffff]*")
_ESCAPES: Mapping[str, str] = {"\n": r"\n", "\r": r"\r", "\t": r"\t", "'": r"\'", "\\": r"\\"}


class _Secret(NamedTuple):
    """What must not be shown, and the variable that stands for it."""

    text: str
    variable: str


def curl_of(sent: Sent, *, token: str | None) -> str:
    """The command that sends the request.

    `token` is shown as `$TOKEN`, and what is secret by its header's name as `$SECRET`.
    """
    hidden = _Secret(token or "", "$TOKEN")
    words = ["curl", "--path-as-is"]
    if sent.version is HttpVersion.HTTP_2:
        words.append("--http2-prior-knowledge")
    if sent.method != "GET":
        words += ["-X", _word(sent.method, hidden)]
    host, *others = sent.hosts
    for other in others:
        words += ["-H", _word(f"host: {other}", hidden)]
    for name, value in sent.headers:
        # curl takes a header without a value for one to be left out, unless a semicolon ends it.
        words += ["-H", _word(f"{name}: {value}" if value else f"{name};", _secret_in(name, value, hidden))]
    if sent.target.startswith("/"):
        words.append(_word(f"http://{host}{sent.target}", hidden))
    else:
        words += ["--request-target", _word(sent.target, hidden), _word(f"http://{host}/", hidden)]
    return " ".join(words)


def _secret_in(name: str, value: str, hidden: _Secret) -> _Secret:
    if (hidden.text and hidden.text in value) or ascii_lower(name) not in SECRET_HEADERS:
        return hidden
    return _Secret(value, "$SECRET")


def _word(text: str, hidden: _Secret) -> str:
    """`text` as one word of bash, whatever is in it."""
    parts = text.split(hidden.text) if hidden.text else [text]
    if len(parts) > 1 and all(map(_PLAIN_IN_QUOTES.fullmatch, parts)):
        return f'"{hidden.variable.join(parts)}"'
    return f'"{hidden.variable}"'.join(_quoted(part) if part or len(parts) == 1 else "" for part in parts)


def _quoted(text: str) -> str:
    if text.isascii() and text.isprintable():
        return shlex.quote(text)
    return f"$'{''.join(map(_escaped, text))}'"


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isascii() and character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))
