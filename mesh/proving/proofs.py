"""Proofs: whether invariants hold, each with what was looked at, or with a request for which it does not."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import permutations

from authz.analysis.access import Guarding, LiteralRule
from authz.analysis.circuit import FALSE, TRUE
from authz.attributes import Protocol
from authz.decision import Match
from authz.external import Authorizers
from authz.invariants import (
    Always,
    Assumed,
    Callers,
    Disjoint,
    EveryRule,
    Invariant,
    Never,
    NoNewAccess,
    Only,
    Requests,
    SameAs,
    StableUnder,
)
from authz.model import Action, Policy, Source
from authz.peer_authentication import MtlsMode, PortMode
from mesh.limits import MOST_RULES, refuse_too_many_questions, refuse_too_many_rules
from mesh.proving.ground import Ground, Shared, Witness, weaker
from mesh.proving.subjects import Subject, alike, alike_in_both, pairs, subjects
from mesh.snapshot import Snapshot

__all__ = ["Proof", "Status", "prove"]

Baselines = Callable[[str], Snapshot]
"""What gives the version of the mesh of a name."""


class Status(Enum):
    """How an invariant came out. There is no fourth."""

    PROVED = "PROVED"
    BROKEN = "BROKEN"
    VACUOUS = "VACUOUS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was found about an invariant.

    `questions` is how many there were, each about all requests of one protocol to workloads that are guarded alike.
    `subject` and `witness` are a workload and a request for which it does not hold, where one request shows it; `rules` are those
    that break it, each with what covers it.
    """

    invariant: Invariant
    status: Status
    reason: str
    questions: int
    seconds: float
    subject: Subject | None = None
    witness: Witness | None = None
    rules: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def prove(
    snapshot: Snapshot, invariants: Sequence[Invariant], *, assumed: Assumed, baselines: Baselines
) -> Iterator[Proof]:
    """Each of them, in their order.

    Raises:
        TooManyError: There are more rules before a workload, or more questions, than are answered about.
        Contradiction: The reference decides a case otherwise than the analysis says.
    """
    prover = _Prover(snapshot, invariants, assumed, baselines)
    prover.ask_all()
    for number in range(len(invariants)):
        yield prover.proof(number)


@dataclass(slots=True)
class _Record:
    """What was found out about one invariant so far."""

    questions: int = 0
    seconds: float = 0.0
    subject: Subject | None = None
    witness: Witness | None = None
    reason: str = ""
    met: dict[str, bool] = field(default_factory=dict)
    covering: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


_Finding = tuple[int, str]
"""A literal, and what it is called."""


@dataclass(frozen=True, slots=True)
class _Reach:
    """Whether a rule decides: some request for which all of `held` do, and none of `others`, which are called by their names."""

    name: str
    held: tuple[int, ...]
    others: Mapping[str, int]


@dataclass(slots=True)
class _Asked:
    """What is asked of one ground for one invariant and one workload.

    None of `never` can be; of those of `somewhere`, and of `rules`, that are called alike one can be, here or elsewhere.
    """

    subject: Subject
    never: list[_Finding] = field(default_factory=list)
    somewhere: list[_Finding] = field(default_factory=list)
    rules: list[_Reach] = field(default_factory=list)


_TOGETHER = 16
_SELECTED = "selected"
_PASSES = "passes"


class _Prover:
    def __init__(
        self, snapshot: Snapshot, invariants: Sequence[Invariant], assumed: Assumed, baselines: Baselines
    ) -> None:
        self._snapshot = snapshot
        self._invariants = invariants
        self._assumed = assumed
        self._baselines = baselines
        self._records = [_Record() for _ in invariants]

    def ask_all(self) -> None:
        alone = [
            n for n, each in enumerate(self._invariants) if not isinstance(each, (NoNewAccess, SameAs, StableUnder))
        ]
        every = subjects(self._snapshot)
        refuse_too_many_questions(len(every), len(self._invariants))
        some = list(alike(self._snapshot, every))
        refuse_too_many_rules(((group[0].name, guarding.policies) for guarding, group in some), most=MOST_RULES)
        if alone:
            self._ask([(guarding, None, group) for guarding, group in some], self._snapshot, alone)
        for number, each in enumerate(self._invariants):
            if isinstance(each, StableUnder):
                for guarding, group in some:
                    self._ask_about_spellings(number, each, guarding, group)
        by_baseline: defaultdict[str, list[int]] = defaultdict(list)
        for number, each in enumerate(self._invariants):
            if isinstance(each, (NoNewAccess, SameAs)):
                by_baseline[each.baseline.name].append(number)
        for name, numbers in by_baseline.items():
            self._compare(self._baselines(name), numbers)

    def _ask_about_spellings(
        self, number: int, invariant: StableUnder, guarding: Guarding, group: Sequence[Subject]
    ) -> None:
        """Each spelling has requests of its own, for of none other there are two forms."""
        record = self._records[number]
        for spelling in invariant.spellings:
            shared = Shared(
                Protocol.HTTP,
                normalization=self._snapshot.config.path_normalization,
                issuers=guarding.issuers,
                assumed=self._assumed,
            )
            ground = Ground(shared, guarding)
            changed = ground.space.circuit.all_of((-ground.new.allowed, ground.respelt(spelling)))
            asked = [
                (ground.space.circuit.all_of((changed, ground.of_requests(invariant.requests, subject.name))), subject)
                for subject in group
            ]
            started = time.perf_counter()
            for literal, subject in asked:
                record.questions += 1
                if record.witness is None and (witness := ground.find(literal)) is not None:
                    record.subject, record.witness = subject, witness
                    record.reason = f"it is denied, and allowed as it is spelt otherwise ({spelling.value})"
            record.seconds += time.perf_counter() - started

    def _compare(self, before: Snapshot, numbers: Sequence[int]) -> None:
        # Of what is no more, nothing is allowed.
        both = [pair for pair in pairs(before, self._snapshot) if pair.new is not None]
        some = [
            (now or NOBODY, was or NOBODY, [pair.subject for pair in group])
            for was, now, group in alike_in_both(before, self._snapshot, both)
        ]
        refuse_too_many_rules(((group[0].name, was.policies) for _, was, group in some), most=MOST_RULES)
        self._ask(some, before, numbers)

    def _ask(
        self,
        pairs: Sequence[tuple[Guarding, Guarding | None, Sequence[Subject]]],
        other: Snapshot,
        numbers: Sequence[int],
    ) -> None:
        """A few workloads share what is said of requests, which is as much as what is said of them; all would make it too large."""
        issuers = [rule.issuer for rule in (*self._snapshot.jwt_rules(), *other.jwt_rules())]
        normalization = weaker(self._snapshot.config.path_normalization, other.config.path_normalization)
        for start in range(0, len(pairs), _TOGETHER):
            for protocol in Protocol:
                shared = Shared(
                    protocol,
                    normalization=normalization,
                    issuers=issuers,
                    assumed=self._assumed,
                )
                grounds = [
                    (Ground(shared, new, old=old), group) for new, old, group in pairs[start : start + _TOGETHER]
                ]
                self._ask_grounds(grounds, numbers)

    def _ask_grounds(self, grounds: Sequence[tuple[Ground, Sequence[Subject]]], numbers: Sequence[int]) -> None:
        """All questions to these: first every formula, then the answers."""
        asked = [
            (ground, n, self._asked(self._invariants[n], ground, subject))
            for ground, group in grounds
            for n in numbers
            for subject in group
        ]
        known: dict[int, bool] = {}
        for ground, number, question in asked:
            started = time.perf_counter()
            self._answer(ground, self._records[number], question, known)
            self._records[number].seconds += time.perf_counter() - started

    def _answer(self, ground: Ground, record: _Record, asked: _Asked, known: dict[int, bool]) -> None:
        for literal, reason in asked.never:
            record.questions += literal not in known
            if literal not in known:
                known[literal] = ground.possible(literal)
            if known[literal] and record.witness is None:
                record.subject, record.witness, record.reason = asked.subject, ground.find(literal), reason
        for literal, name in asked.somewhere:
            if not record.met.get(name):
                record.questions += 1
                record.met[name] = ground.possible(literal)
        for reach in asked.rules:
            if not record.met.get(reach.name):
                record.questions += 1
                record.met[reach.name] = ground.possible(*reach.held, *[-each for each in reach.others.values()])
                if not record.met[reach.name]:
                    record.covering[reach.name] += _covering(ground, reach)

    # What is asked for each kind of invariant ---------------------------------------------------------------------------

    def _asked(self, invariant: Invariant, ground: Ground, subject: Subject) -> _Asked:
        all_of = ground.space.circuit.all_of
        allowed = ground.new.allowed
        asked = _Asked(subject)
        match invariant:
            case Never(callers=callers, requests=requests) | Always(callers=callers, requests=requests):
                selected = all_of((ground.of_callers(callers), ground.of_requests(requests, subject.name)))
                wrong = allowed if isinstance(invariant, Never) else -allowed
                reason = "it is allowed" if isinstance(invariant, Never) else "it is denied"
                asked.never.append((all_of((selected, wrong)), reason))
                asked.somewhere.append((selected, _SELECTED))
            case Only(callers=callers, requests=requests):
                theirs, wanted = ground.of_callers(callers), ground.of_requests(requests, subject.name)
                asked.never.append((all_of((-theirs, wanted, allowed)), "somebody else is allowed"))
                asked.somewhere.append((wanted, _SELECTED))
                asked.somewhere.append((all_of((theirs, wanted, allowed)), _PASSES))
            case Disjoint(namespaces=namespaces):
                for one, other in permutations(namespaces, 2):
                    requests = Requests(workloads=(f"{other}/*",))
                    calls = all_of(
                        (
                            ground.of_callers(Callers(source=Source(namespaces=(one,)))),
                            ground.of_requests(requests, subject.name),
                        )
                    )
                    asked.never.append((all_of((calls, allowed)), f"{one} may call {other}"))
                    asked.somewhere.append((calls, f"{one} to {other}"))
            case NoNewAccess(besides=besides):
                excepted = [
                    all_of((ground.of_callers(callers), ground.of_requests(requests, subject.name)))
                    for callers, requests in besides
                ]
                asked.never.append((all_of((_newly_allowed(ground), *[-each for each in excepted])), "it was denied"))
            case SameAs():
                asked.never.append((_newly_allowed(ground), "it was denied"))
                asked.never.append((_newly_denied(ground), "it was allowed"))
            case EveryRule():
                self._ask_about_rules(invariant, ground, asked)
            case StableUnder():
                # Each by itself, and not of what others share.
                raise TypeError(invariant)
        return asked

    def _ask_about_rules(self, invariant: EveryRule, ground: Ground, asked: _Asked) -> None:
        new = ground.new
        denied = {_name(rule.match): rule.literal for rule in new.deny}
        come_to: dict[Action, tuple[tuple[LiteralRule, ...], tuple[int, ...], Mapping[str, int]]] = {
            Action.CUSTOM: (new.custom, (-new.refused,), {}),
            Action.DENY: (new.deny, (-new.refused, -new.untaken, -new.unpassed), {}),
            Action.ALLOW: (new.allow, (-new.refused, -new.untaken, -new.unpassed), denied),
        }
        for rules, held, before in come_to.values():
            by_name = {_name(rule.match): rule.literal for rule in rules}
            for name, literal in by_name.items():
                others = {other: its for other, its in by_name.items() if other != name}
                covering = {**before, **(others if invariant.not_shadowed else {})}
                asked.rules.append(_Reach(name, (literal, *held), covering))

    # What came of it ----------------------------------------------------------------------------------------------------

    def proof(self, number: int) -> Proof:
        invariant, record = self._invariants[number], self._records[number]
        status, reason = self._status(invariant, record)
        dead = {name: tuple(dict.fromkeys(record.covering[name])) for name, met in record.met.items() if not met}
        return Proof(
            invariant=invariant,
            status=status,
            reason=reason,
            questions=record.questions,
            seconds=record.seconds,
            subject=record.subject if status is Status.BROKEN else None,
            witness=record.witness if status is Status.BROKEN else None,
            rules=dead if isinstance(invariant, EveryRule) else {},
        )

    def _status(self, invariant: Invariant, record: _Record) -> tuple[Status, str]:
        if record.witness is not None:
            return Status.BROKEN, record.reason
        unmet = [name for name, met in record.met.items() if not met]
        match invariant:
            case EveryRule() if unmet:
                return Status.BROKEN, f"{len(unmet)} of {len(record.met)} rules decide nothing"
            case Only() if not unmet or _SELECTED not in unmet:
                if _PASSES in unmet:
                    return Status.BROKEN, "nobody is allowed, not even those who should be"
            case Disjoint() if len(unmet) == len(record.met):
                return self._empty(invariant, "no workload is in any of the namespaces but one")
            case Never() | Always() | Only() if _SELECTED in unmet or not record.met:
                return self._empty(invariant, "no request to any workload is meant by it")
            case EveryRule() if not record.met:
                return self._empty(invariant, "there are no rules")
        return Status.PROVED, ""

    def _empty(self, invariant: Invariant, reason: str) -> tuple[Status, str]:
        return (Status.PROVED if invariant.may_be_empty else Status.VACUOUS), reason


def _name(match: Match) -> str:
    return f"{match.policy}#{match.rule}"


def _newly_allowed(ground: Ground) -> int:
    return FALSE if ground.old is None else ground.space.circuit.all_of((ground.new.allowed, -ground.old.allowed))


def _newly_denied(ground: Ground) -> int:
    return FALSE if ground.old is None else ground.space.circuit.all_of((-ground.new.allowed, ground.old.allowed))


def _covering(ground: Ground, reach: _Reach) -> list[str]:
    """Some of the others that leave nothing of a rule, none of which can be spared; none where no request meets it anyway."""
    if not ground.possible(*reach.held):
        return []
    # What always matches is no matter for the solver, and so in no answer of its.
    if (certain := next((name for name, literal in reach.others.items() if literal == TRUE), None)) is not None:
        return [certain]
    ground.possible(*reach.held, *[-each for each in reach.others.values()])
    core = set(ground.space.core())
    names = [name for name, literal in reach.others.items() if -literal in core]
    for name in list(names):
        fewer = [-reach.others[each] for each in names if each != name]
        if not ground.possible(*reach.held, *fewer):
            names.remove(name)
    return names


NOBODY = Guarding(
    policies=(Policy(namespace="", name="", action=Action.ALLOW),),
    issuers={},
    authorizers=Authorizers({}),
    modes={None: PortMode(MtlsMode.PERMISSIVE, "")},
    trust_domains=(),
)
"""What stood before a workload that was not there: to it nothing was allowed."""
