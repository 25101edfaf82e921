"""Tally: what a process that answers counts, each number at a fixed place of memory that another process may read.

Who reads it waits for nobody, so that a worker that hangs or has died cannot hold up the rest, and nothing that it had counted
is lost. A worker that follows another goes on with the other's numbers.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from itertools import product

from authn.status import JwtStatus
from authz.decision import Decision, Stage, Verdict
from authz.model import Action

__all__ = ["BUCKETS", "SIZE", "Beside", "Call", "Counted", "Decided", "Fetch", "Refusal", "Tally", "Token"]

BUCKETS = (
    *(10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6),
    *(1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3),
    *(0.1, 0.25, 1.0),
)
"""Upper bounds in seconds: most answers take tens of microseconds, and those that ask somebody else, milliseconds."""


class Refusal(Enum):
    """Why a question was denied without asking a policy."""

    UNDECODABLE = "undecodable"
    MALFORMED = "malformed"
    UNKNOWN_WORKLOAD = "unknown-workload"
    UNLOGGED = "unlogged"
    INTERNAL_ERROR = "internal-error"


class Call(Enum):
    """What came of asking an external authorizer."""

    ALLOWED = "allowed"
    REFUSED = "refused"
    TOO_LARGE = "body-too-large"
    FAILED = "failed"
    FAILED_OPEN = "failed-open"


class Fetch(Enum):
    """What came of fetching keys."""

    OK = "ok"
    FAILED = "failed"


class Token(Enum):
    """What came of a request's tokens where they are good; where not, it is a `JwtStatus`."""

    VERIFIED = "verified"


class Beside(Enum):
    """What the version of the policies that is decided by beside the one in force says of a request."""

    ALLOW = "ALLOW"
    DENY = "DENY"
    UNKNOWN = "UNKNOWN"
    """Somebody would have to be asked first."""
    ERROR = "ERROR"


Counted = Refusal | Call | Fetch | Token | JwtStatus
Decided = tuple[Verdict, Stage, Action | None]
_DECIDED: Sequence[Decided] = tuple(product(Verdict, Stage, (None, *Action)))
_SHADOWED: Sequence[tuple[Verdict, Beside]] = tuple(product(Verdict, Beside))
_COUNTED: Sequence[object] = (*_DECIDED, *BUCKETS, "over", *Refusal, *Call, *Fetch, *Token, *JwtStatus, *_SHADOWED)
_PLACES: Mapping[object, int] = {each: place for place, each in enumerate(_COUNTED)}
# Known by their identities: the hash of an enum's member is computed by Python, and costs more than all of the rest.
_DECISIONS = {
    (id(verdict), id(stage), id(action)): _PLACES[verdict, stage, action] for verdict, stage, action in _DECIDED
}
_TIMES = _PLACES[BUCKETS[0]]
_BYTES = 8
_SECONDS, _ALIVE, _OLDEST, _USABLE, _MISSING = range(5)
_COUNTS = len(_COUNTED) * _BYTES

SIZE = _COUNTS + 5 * _BYTES
"""Bytes of the memory that a tally needs."""


class Tally:
    """Counts in `memory`, of `SIZE` bytes, at first zeros. One thread may write."""

    __slots__ = ("_counts", "_gauges")

    def __init__(self, memory: memoryview | None = None) -> None:
        memory = memoryview(bytearray(SIZE)) if memory is None else memory.cast("B")
        self._counts = memory[:_COUNTS].cast("Q")
        self._gauges = memory[_COUNTS:SIZE].cast("d")

    def answered(self, decision: Decision, seconds: float) -> None:
        """One answer, that took so long."""
        counts = self._counts
        counts[_DECISIONS[id(decision.verdict), id(decision.stage), id(decision.action)]] += 1
        counts[_TIMES + bisect_left(BUCKETS, seconds)] += 1
        self._gauges[_SECONDS] += seconds

    def count(self, what: Counted) -> None:
        """One more of these."""
        self._counts[_PLACES[what]] += 1

    def shadowed(self, enforced: Verdict, beside: Beside) -> None:
        """One request that was decided by the other version, too."""
        self._counts[_PLACES[enforced, beside]] += 1

    def alive(self, *, at: float) -> None:
        """The loop that answers turns."""
        self._gauges[_ALIVE] = at

    def keys(self, *, usable: int, missing: int, oldest: float) -> None:
        """How many key sets there are and are not, and when the oldest of them was fetched."""
        self._gauges[_USABLE], self._gauges[_MISSING], self._gauges[_OLDEST] = usable, missing, oldest

    @property
    def decisions(self) -> Iterator[tuple[Decided, int]]:
        """How often each combination was decided, those that never were included."""
        return ((each, self._counts[_PLACES[each]]) for each in _DECIDED)

    @property
    def shadows(self) -> Iterator[tuple[tuple[Verdict, Beside], int]]:
        """How often the two versions decided so, each combination."""
        return ((each, self._counts[_PLACES[each]]) for each in _SHADOWED)

    def of(self, what: Counted) -> int:
        """How many of these there were."""
        return self._counts[_PLACES[what]]

    @property
    def times(self) -> Sequence[int]:
        """How many answers there were in each of the `BUCKETS`, and over the last."""
        return self._counts[_TIMES : _TIMES + len(BUCKETS) + 1].tolist()

    @property
    def seconds(self) -> float:
        """How long all answers took together."""
        return self._gauges[_SECONDS]

    @property
    def alive_at(self) -> float:
        """When the loop turned last; 0 if it never did."""
        return self._gauges[_ALIVE]

    @property
    def key_sets(self) -> tuple[int, int, float]:
        """As `keys` was told: usable, missing, and when the oldest was fetched."""
        return int(self._gauges[_USABLE]), int(self._gauges[_MISSING]), self._gauges[_OLDEST]
