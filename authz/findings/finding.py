"""Finding: something about the meaning of a policy, at a place in it."""

from dataclasses import dataclass

from authz.findings.codes import Code
from authz.model import Policy
from authz.peer_authentication import PeerAuthentication
from authz.request_authentication import RequestAuthentication
from authz.span import Path

__all__ = ["Change", "Drop", "Finding", "Insert", "named", "shortened"]

_LONGEST = 80


@dataclass(frozen=True, slots=True)
class Drop:
    """Take the entry at `path` out of its list, which has others."""

    path: Path


@dataclass(frozen=True, slots=True)
class Insert:
    """Put `value` into a list, behind its entry at `path`."""

    path: Path
    value: str


Change = Drop | Insert


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is found in `policy` at `path`; `help` says what to do about it.

    `fix` is what may be done without asking: never what would let through more than before. `covered_by` is the rule that leaves
    this one nothing to do, where that is what is found.
    """

    code: Code
    policy: Policy | RequestAuthentication | PeerAuthentication
    path: Path
    message: str
    help: str
    fix: tuple[Change, ...] = ()
    covered_by: str | None = None


def named(text: str) -> str:
    """`text` from a document as a message names it: in backticks, cut where it is long."""
    return f"`{shortened(text)}`"


def shortened(text: str) -> str:
    """`text`, cut where it is long."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
