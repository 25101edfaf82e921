"""Registration entries: who may have which SPIFFE ID, and which of them apply to a caller."""

from collections import defaultdict
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Self
from uuid import uuid4

from ca.selector import Selector
from identity import SpiffeId, TrustDomain

__all__ = ["Entry", "EntryFilter", "EntryIndex"]

MAX_HINT = 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """Whoever has all of `selectors` may have `spiffe_id`.

    A lifetime of `None` is the authority's own. `admin` says that the workload may manage the authority. `hint` tells
    a workload of several names which is for what.
    """

    id: str
    spiffe_id: SpiffeId
    selectors: frozenset[Selector]
    created: datetime
    ttl: timedelta | None = None
    jwt_ttl: timedelta | None = None
    dns_names: tuple[str, ...] = ()
    federates_with: frozenset[TrustDomain] = frozenset()
    admin: bool = False
    hint: str = ""

    def __post_init__(self) -> None:
        # No selector at all would hold for everybody.
        if not self.selectors:
            raise ValueError(f"entry for `{self.spiffe_id}` has no selector")
        if not self.spiffe_id.path:
            raise ValueError(f"entry for `{self.spiffe_id}`: a trust domain's own name is not for a workload")
        if any(ttl is not None and ttl <= timedelta(0) for ttl in (self.ttl, self.jwt_ttl)):
            raise ValueError(f"entry for `{self.spiffe_id}` has a lifetime that is not positive")
        if len(self.hint.encode(errors="replace")) > MAX_HINT or not self.hint.isprintable():
            raise ValueError(f"entry for `{self.spiffe_id}`: the hint is longer than {MAX_HINT} bytes or not printable")

    @classmethod
    def new(cls, spiffe_id: SpiffeId, selectors: Iterable[Selector], *, at: datetime) -> Self:
        """An entry with an id of its own; `dataclasses.replace` gives it what else it should have.

        Raises:
            ValueError: there is no selector, or the name is not a workload's.
        """
        return cls(str(uuid4()), spiffe_id, frozenset(selectors), at)

    def says_the_same_as(self, other: "Entry") -> bool:
        """Whether both allow the same, whatever their ids and ages."""
        return replace(self, id=other.id, created=other.created) == other


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """Which entries to list: those that meet all that is given. `prefix` is of the whole SPIFFE ID."""

    spiffe_id: SpiffeId | None = None
    prefix: str | None = None
    selector: Selector | None = None


@dataclass(slots=True)
class EntryIndex:
    """Finds the entries that apply to a caller without going over the rest.

    Each entry hangs under one of its selectors, the one with the fewest others, and is looked at only by callers that
    have that one. What many share (a cluster, a namespace) thus costs nothing.
    """

    _under: defaultdict[Selector, dict[str, tuple[int, Entry]]] = field(default_factory=lambda: defaultdict(dict))
    _where: dict[str, Selector] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._where)

    def put(self, number: int, entry: Entry) -> None:
        """Add an entry, or replace the one of the same id. Answers are in the order of `number`."""
        self.remove(entry.id)
        rarest = min(entry.selectors, key=lambda selector: (len(self._under.get(selector, ())), selector))
        self._under[rarest][entry.id] = (number, entry)
        self._where[entry.id] = rarest

    def remove(self, entry_id: str) -> None:
        """Forget an entry; one that is not there is forgotten already."""
        selector = self._where.pop(entry_id, None)
        if selector is None:
            return
        del self._under[selector][entry_id]
        if not self._under[selector]:
            del self._under[selector]

    def entries_for(self, selectors: AbstractSet[Selector]) -> tuple[Entry, ...]:
        """The entries whose selectors are all among `selectors`, oldest first."""
        found = [
            hung
            for selector in selectors
            for hung in self._under.get(selector, {}).values()
            if hung[1].selectors <= selectors
        ]
        return tuple(entry for _, entry in sorted(found, key=lambda hung: hung[0]))
