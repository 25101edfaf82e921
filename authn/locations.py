"""Locations: where in a request a rule looks for tokens, as Envoy 1.40 finds them (semantics 4.2)."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from authn.errors import excerpt
from authz.request_authentication import JwtRule, TokenHeader
from authz.values import ascii_lower

__all__ = ["FoundToken", "InCookie", "InHeader", "InParameter", "Location", "find_tokens", "spellings"]


@dataclass(frozen=True, slots=True)
class InHeader:
    """A header, by its name in lower case."""

    name: str

    def __str__(self) -> str:
        return f"header {excerpt(self.name)}"


@dataclass(frozen=True, slots=True)
class InParameter:
    """A query parameter."""

    name: str

    def __str__(self) -> str:
        return f"query parameter {excerpt(self.name)}"


@dataclass(frozen=True, slots=True)
class InCookie:
    """A cookie."""

    name: str

    def __str__(self) -> str:
        return f"cookie {excerpt(self.name)}"


Location = InHeader | InParameter | InCookie


class FoundToken(NamedTuple):
    """What stands where a token is expected. It may be anything."""

    text: str
    location: Location


_DEFAULT_HEADER = TokenHeader(name="authorization", prefix="Bearer ")
_DEFAULT_PARAMETER = "access_token"
_TOKEN_CHARACTER = re.compile(r"[A-Za-z0-9_.-]")


def find_tokens(rule: JwtRule, lines: Callable[[str], Sequence[str]], path: str | None) -> tuple[FoundToken, ...]:
    """The tokens at the rule's own locations: headers by name and prefix, then parameters, then cookies by name.

    `lines` gives the lines of a header by its name in lower case.
    """
    headers, parameters, cookies = _in_order(rule.from_headers, rule.from_params, rule.from_cookies)
    found: list[FoundToken] = []
    for location, prefix in headers:
        for line in _as_envoy_keeps(location.name, lines(location.name)):
            text = _behind(prefix, line) if prefix else line
            if text is not None:
                found.append(FoundToken(text, location))
    if parameters and path is not None and "?" in path:
        found += _in_parameters(parameters, path)
    if cookies:
        found += _in_cookies(cookies, lines)
    return tuple(found)


class _Places(NamedTuple):
    """Where a rule looks, in order; a header has a prefix, or an empty one."""

    headers: tuple[tuple[InHeader, str], ...]
    parameters: tuple[str, ...]
    cookies: tuple[str, ...]


@lru_cache(maxsize=1024)
def _in_order(headers: tuple[TokenHeader, ...], parameters: tuple[str, ...], cookies: tuple[str, ...]) -> _Places:
    if not (headers or parameters or cookies):
        headers, parameters = (_DEFAULT_HEADER,), (_DEFAULT_PARAMETER,)
    # Two ways to write the same location are one; a prefix sorts as if it were more of the name.
    by_key = {ascii_lower(header.name) + header.prefix: header for header in headers}
    return _Places(
        tuple((InHeader(ascii_lower(header.name)), header.prefix) for _, header in sorted(by_key.items())),
        tuple(sorted(set(parameters))),
        tuple(sorted(set(cookies))),
    )


def _as_envoy_keeps(name: str, lines: Sequence[str]) -> Sequence[str]:
    """The lines of a header as the filter sees them: Envoy joins those of `authorization`, other names keep them apart."""
    return [",".join(lines)] if name == "authorization" and lines else lines


def _behind(prefix: str, line: str) -> str | None:
    """What follows `prefix`, wherever in the line that is, from the first character that a token may have.

    What comes after the token is left on it, and makes it one that does not verify. Without any such character the whole
    line counts, as in Envoy; it is no token then.
    """
    start = line.find(prefix)
    if start < 0:
        return None
    found = _TOKEN_CHARACTER.search(line, start + len(prefix))
    return line[found.start() :] if found else line


def _in_parameters(names: Sequence[str], path: str) -> Iterator[FoundToken]:
    first: dict[str, str] = {}
    for pair in _pairs(path):
        name, _, value = pair.partition("=")
        first.setdefault(_unquoted(name), value)
    for name in names:
        if name in first:
            yield FoundToken(_unquoted(first[name]), InParameter(name))


def spellings(path: str, name: str) -> frozenset[str]:
    """The spellings under which the query of `path` has the parameter `name`: a name may be percent-encoded."""
    return frozenset(
        written for written in (pair.partition("=")[0] for pair in _pairs(path)) if _unquoted(written) == name
    )


def _pairs(path: str) -> list[str]:
    query = path.partition("?")[2]
    return query.split("&") if query else []


def _unquoted(text: str) -> str:
    """Percent-decoded as Envoy does it: a `+` stays one, and so does a `%` that nothing hexadecimal follows."""
    if text.isascii() and "%" not in text:
        return text
    return unquote_to_bytes(text.encode(errors="surrogateescape")).decode(errors="surrogateescape")


def _in_cookies(names: Sequence[str], lines: Callable[[str], Sequence[str]]) -> Iterator[FoundToken]:
    cookies = _cookies(lines("cookie"))
    for name in names:
        if name in cookies:
            yield FoundToken(cookies[name], InCookie(name))


def _cookies(lines: Sequence[str]) -> Mapping[str, str]:
    """The first value of each cookie, without the quotes around it."""
    cookies: dict[str, str] = {}
    for line in lines:
        for piece in line.split(";"):
            name, equals, value = piece.lstrip(" ").partition("=")
            if not equals:
                continue
            quoted = len(value) > 1 and value[0] == value[-1] == '"'
            cookies.setdefault(name, value[1:-1] if quoted else value)
    return cookies
