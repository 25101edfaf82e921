"""Record: one request of recorded traffic, and what became of it then."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from authz.attributes import Attributes
from authz.decision import Stage, Verdict
from authz.record import record
from mesh.snapshot import Guard, Snapshot
from parser.request import RequestDocument

__all__ = ["Lacking", "Record", "Recorded", "RefusedRequestError"]

_TOKENS = "request.auth"


class RefusedRequestError(Exception):
    """The server would deny the request without asking any policy; `str()` is the reason."""


class Recorded(NamedTuple):
    """The verdict of then, and what determined it, as far as that was recorded."""

    verdict: Verdict
    policy: str | None = None
    rule: int | None = None
    reason: str | None = None
    stage: Stage | None = None


@record
class Lacking:
    """What a record does not tell, though the request may have had it.

    `masked` are headers whose values were not written down; of all others only `logged` were, where that is given. `claims` is
    whether it does not tell what a token said, `refused_token` whether there was one that was not good.
    """

    masked: frozenset[str] = frozenset()
    logged: frozenset[str] | None = None
    claims: bool = False
    refused_token: bool = False

    def among(self, guard: Guard) -> tuple[str, ...]:
        """The keys that the policies of a workload look at, and that the record does not tell."""
        looked_at = {name for name in guard.tree.headers if name[:1] != ":"}
        unknown = looked_at & self.masked
        if self.logged is not None:
            unknown |= looked_at - self.logged
        keys = [f"request.headers[{name}]" for name in sorted(unknown)]
        if (self.claims and guard.looks_at_tokens) or (self.refused_token and guard.jwt_rules):
            keys.append(_TOKENS)
        return tuple(keys)


@record
class Record:
    """One request, as the policies get to see it.

    `at` is when it was made, in seconds since 1970, where that is known and tokens are to be verified. `as_sent` is whether it is
    as the client sent it, before a proxy had it. `ways` are all the ways to read it at a workload, where there are several:
    the most restrictive decision counts; they may raise `UnknownWorkloadError` and `RefusedRequestError`. `recorded` is `None` where nothing tells what became of it.
    """

    document: RequestDocument
    recorded: Recorded | None = None
    at: float | None = None
    as_sent: bool = False
    lacking: Lacking | None = None
    ways: Callable[[Snapshot], Sequence[Attributes]] | None = None
