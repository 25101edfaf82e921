"""Path normalization: what a proxy makes of a path before any of its filters sees it (semantics 2.8).

Every step is one that Envoy 1.40 was seen to do; `docs/envoy.md` has the table. One pass, nothing is repeated: what a step
brings to light is not normalized again, and a policy sees what the application sees.
"""

import re

from authz.errors import AuthzError
from authz.mesh_config import PathNormalization

__all__ = ["RefusedPathError", "normalize_path"]

_ESCAPED_SLASH = re.compile(r"%2[fF]")
_ESCAPED_BACKSLASH = re.compile(r"%5[cC]")
_PARAMETERS_OF_DOTS = re.compile(r"(?<=/)(\.\.?);[^/]*")
_ESCAPED_DOT = re.compile(r"%2[eE]")
_PERCENT = re.compile(r"%([0-9a-fA-F]{2})?")
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]")
_LONE_BEFORE_DIGITS = re.compile(r"\0(?=[0-9a-fA-F]{2})")
_TO_ESCAPE = re.compile(r'["<>^`{|}]|[^\x00-\x7f]')
_PRINTABLE = re.compile(r"[!-~\x80-\U0010ffff]+")


class RefusedPathError(AuthzError):
    """A path that the proxy answers with 400 before it asks anybody."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"the proxy refuses the path {path!r}: {reason}")
        self.path = path
        self.reason = reason


def normalize_path(path: str, option: PathNormalization) -> str:
    """What becomes of `path`, with its query, on the way to the filters of a proxy with this option.

    Bytes outside ASCII pass as they do over HTTP/2; over HTTP/1.1 Envoy answers 400. Those that are no UTF-8 are Python's
    surrogate escapes.

    Raises:
        RefusedPathError: The proxy answers 400.
    """
    if not _PRINTABLE.fullmatch(path):
        raise RefusedPathError(path, "it is empty, or has a space or a control character")
    path = path.partition("#")[0]
    if not path.startswith("/"):
        raise RefusedPathError(path, "it does not start with a slash")
    if option is PathNormalization.NONE:
        return path
    target, mark, query = path.partition("?")
    if option is PathNormalization.DECODE_AND_MERGE_SLASHES:
        target = _ESCAPED_BACKSLASH.sub(r"\\", _ESCAPED_SLASH.sub("/", target))
    target = _PARAMETERS_OF_DOTS.sub(r"\1", target)
    if "%00" in target:
        raise RefusedPathError(path, "it has an escaped NUL")
    target = _with_plain_escapes(_without_dot_segments(target.replace("\\", "/")))
    if option is not PathNormalization.BASE:
        target = _with_single_slashes(target)
    return target + mark + query


def _without_dot_segments(target: str) -> str:
    """RFC 3986 5.2.4, where the dots may be escaped."""
    kept: list[str] = []
    *folders, last = target[1:].split("/")
    for segment in folders:
        match _ESCAPED_DOT.sub(".", segment):
            case ".":
                pass
            case "..":
                del kept[-1:]
            case _:
                kept.append(segment)
    match _ESCAPED_DOT.sub(".", last):
        case ".":
            kept.append("")
        case "..":
            kept[-1:] = [""]
        case _:
            kept.append(last)
    return "/" + "/".join(kept)


def _with_plain_escapes(target: str) -> str:
    """Unreserved characters without their escapes, those that no URL has with one, and no escape that was none before."""

    def plain(found: re.Match[str]) -> str:
        if found[1] is None:
            return "\0"  # a percent sign that begins no escape; no NUL gets this far
        character = chr(int(found[1], 16))
        return character if _UNRESERVED.fullmatch(character) else found[0]

    # In `%%341` the 4 loses its escape, and then `%41` would read as one: there the percent sign gets its own.
    target = _LONE_BEFORE_DIGITS.sub("%25", _PERCENT.sub(plain, target)).replace("\0", "%")
    return _TO_ESCAPE.sub(_escaped, target)


def _escaped(character: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in character[0].encode("utf-8", "surrogateescape"))


def _with_single_slashes(target: str) -> str:
    """One slash for many; but a path of nothing else keeps two, and is not `/`."""
    if "//" not in target:
        return target
    end = "/" if target.endswith("/") else ""
    return "/" + "/".join(filter(None, target.split("/"))) + end
