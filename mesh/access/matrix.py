"""The matrix: for each caller of a workload and each route whether it is allowed, denied, or depends on what neither says.

A cell is about all requests of that caller for that route. The analysis looks for one that is allowed and for one that is denied,
and the decision tree decides each of them again, as it would in front of the workload.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import chain

from authz.analysis.access import IDENTIFIED, TOKEN, Access, Guarding
from authz.analysis.circuit import FALSE, TRUE
from authz.analysis.space import Case
from authz.attributes import Protocol
from authz.decision import Decision, Stage, Verdict
from authz.invariants import Assumed
from authz.keys import Attribute
from authz.matcher import Exact, IssuedTo, Matcher, Port, Present
from authz.predicates import Clause, LoweredRule, Predicate
from authz.workload import ProxyKind, ServiceRef, Workload
from mesh.access.callers import Caller, CallerKind, callers
from mesh.access.routes import METHOD, PATH, PORT, Route, patterns, routes
from mesh.deciding import Offline, decide
from mesh.errors import PolicyStoreError
from mesh.proving.ground import Contradiction, Ground, Shared
from mesh.proving.subjects import Subject, alike, subjects
from mesh.snapshot import Snapshot
from parser.request import Destination, RequestDocument

__all__ = ["Answer", "Cell", "Matrix", "Seen", "TooLargeError", "matrices"]

MOST_CELLS = 20_000
"""More than anybody looks at, and a minute's work."""

_ISSUER = Attribute("request.auth.claims", ("iss",))
_SPOKEN_FOR = Predicate(Attribute("request.auth.principal"), IssuedTo(Present(), Present()))
"""That a token says whom it speaks for. Hardly any does not."""


class TooLargeError(PolicyStoreError):
    """The matrix of a workload has more cells than anybody looks at."""


class Answer(Enum):
    """What is answered to a caller on a route: always the same, or now this and now that."""

    ALLOW = "allow"
    DENY = "deny"
    DEPENDS = "depends"
    NEVER = "never"
    """There is no such request: say, a path that no proxy hands on as it is written."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A request of a cell, as simple as can be, and what the tree decides about it."""

    case: Case
    decision: Decision


@dataclass(frozen=True, slots=True)
class Cell:
    """What is answered, with a request that is allowed and one that is denied, as far as there are such; and what it depends `on`."""

    allowed: Seen | None
    denied: Seen | None
    on: tuple[str, ...]

    @property
    def answer(self) -> Answer:
        """The answer."""
        if self.allowed is not None:
            return Answer.ALLOW if self.denied is None else Answer.DEPENDS
        return Answer.NEVER if self.denied is None else Answer.DENY

    @property
    def decision(self) -> Decision | None:
        """The decision that makes the difference: what allows if anything does, else what denies."""
        seen = [each.decision for each in (self.allowed, self.denied) if each is not None]
        return next((each for each in seen if each.match is not None), seen[0] if seen else None)

    @property
    def told(self) -> tuple[object, ...]:
        """What is to be told of it: the answer, and the reason."""
        decision = self.decision
        why = None if decision is None else (decision.match, decision.reason)
        return self.answer, why, self.on


@dataclass(frozen=True, slots=True)
class Matrix:
    """Access to workloads that are guarded alike. `callers` are those together whom nothing tells apart; a row of `cells` for each route."""

    subjects: tuple[Subject, ...]
    callers: tuple[tuple[Caller, ...], ...]
    routes: tuple[Route, ...]
    cells: tuple[tuple[Cell, ...], ...]


def matrices(snapshot: Snapshot, workload: str | None = None) -> Iterator[Matrix]:
    """The matrix of each workload, or of those of that name, those together that have the same.

    Raises:
        UnknownWorkloadError: There is none of that name.
        TooLargeError: A matrix has more than `MOST_CELLS` cells.
        Contradiction: The tree decides a request otherwise than the analysis says.
    """
    some = subjects(snapshot)
    if workload is not None and len(snapshot.registry):
        ids = set(map(id, snapshot.registry.named(workload)))
        some = [each for each in some if id(each.workload) in ids]
    for guarding, group in alike(snapshot, some):
        by_ports: dict[object, list[Subject]] = {}
        for subject in group:
            by_ports.setdefault((subject.workload.ports, subject.workload.proxy), []).append(subject)
        for same in by_ports.values():
            yield _Maker(snapshot, guarding, tuple(same)).matrix()


class _Maker:
    def __init__(self, snapshot: Snapshot, guarding: Guarding, some: tuple[Subject, ...]) -> None:
        self._snapshot = snapshot
        self._subjects = some
        self._guarding = guarding
        self._document = _destination(snapshot, some[0])

    def matrix(self) -> Matrix:
        grounds = {protocol: _Ground(self._snapshot, self._guarding, protocol) for protocol in Protocol}
        rules = [rule for ground in grounds.values() for rule in ground.rules()]
        workload = self._subjects[0].workload
        groups = callers(
            self._snapshot.registry,
            chain.from_iterable(map(_predicates, rules)),
            self._guarding.issuers,
            trust_domains=self._guarding.trust_domains,
            over_mtls=workload.proxy is not ProxyKind.GATEWAY,
        )
        ports = self._ports(workload, rules)
        rows: list[tuple[Route, list[Cell]]] = []
        for protocol, ground in grounds.items():
            asked = routes(ground.rules(), protocol, ports)
            if len(asked) * len(groups) > MOST_CELLS:
                raise TooLargeError(
                    f"the matrix of {self._subjects[0].name} has {len(asked)} routes and {len(groups)} kinds of callers, which is "
                    f"more than {MOST_CELLS} cells"
                )
            only = workload.ports[0] if len(workload.ports) == 1 else None
            literals = [(route, ground.route(route, only)) for route in asked]
            whose = [ground.caller(group[0]) for group in groups]
            for route, literal in literals:
                rows.append((route, [self._cell(ground, caller, literal) for caller in whose]))
        return _folded(self._subjects, groups, rows)

    def _ports(self, workload: Workload, rules: Iterable[LoweredRule]) -> Sequence[int | None]:
        """The ports to tell apart; none where there is no more than one, or nothing tells them apart."""
        looked_at = len(self._guarding.modes) > 1 or any(
            clause.attribute == PORT for rule in rules for clause in _clauses(rule)
        )
        return workload.ports if looked_at and len(workload.ports) > 1 else (None,)

    def _cell(self, ground: "_Ground", caller: int, route: int) -> Cell:
        found = [ground.find(caller, route, verdict) for verdict in (Verdict.ALLOW, Verdict.DENY)]
        allowed, denied = (None if case is None else Seen(case, self._decided(case)) for case in found)
        for seen, verdict in ((allowed, Verdict.ALLOW), (denied, Verdict.DENY)):
            if seen is not None and seen.decision.verdict is not verdict:
                raise Contradiction(f"{seen.case.attributes} is {seen.decision.verdict.value} by the tree")
        on = () if allowed is None or denied is None else tuple(ground.differing(allowed, denied))
        return Cell(allowed, denied, on)

    def _decided(self, case: Case) -> Decision:
        document = RequestDocument(destination=self._document, attributes=case.attributes)
        return decide(self._snapshot, document, Offline(at=0, allowed_by=case.allowed_by))


class _Ground:
    """The formulas of one protocol, and the rules that they are made of."""

    def __init__(self, snapshot: Snapshot, guarding: Guarding, protocol: Protocol) -> None:
        shared = Shared(
            protocol,
            normalization=snapshot.config.path_normalization,
            issuers=guarding.issuers,
            assumed=Assumed(),
        )
        self._ground = Ground(shared, guarding)
        self._space = self._ground.space
        self._access: Access = self._ground.new
        found = (*self._access.custom, *self._access.deny, *self._access.allow)
        self._rules = {rule.match: rule.lowered for rule in found}
        self._shapes = [self._test(PATH, shape) for shape in patterns(self.rules(), PATH)]

    def rules(self) -> list[LoweredRule]:
        """The rules that have a say."""
        return list(self._rules.values())

    def caller(self, caller: Caller) -> int:
        """The literal that holds for what this caller asks."""
        literal, held = self._space.literal, []
        held.append(-literal(IDENTIFIED) if caller.predicate is None else literal(caller.predicate))
        if caller.kind is CallerKind.PLAINTEXT:
            held.append(-literal(TOKEN))
        if caller.issuer is not None:
            held += [literal(Predicate(_ISSUER, Exact(caller.issuer))), literal(_SPOKEN_FOR), self._ground.taken]
        # One that shows a token that is not good is denied whoever it is, and that is not worth a word.
        return self._space.circuit.all_of((*held, -self._access.untaken))

    def route(self, route: Route, port: int | None) -> int:
        """The literal that holds for requests of this route; `port` is that of the workload, if it has one only."""
        held = []
        if (at := route.port or port) is not None:
            held.append(self._test(PORT, Port(at)))
        if route.protocol is Protocol.HTTP:
            methods = self._space.circuit.any_of([self._test(METHOD, Exact(method)) for method in route.methods])
            held.append(-methods if route.others else methods)
            held += [self._test(PATH, Exact(route.path))] if route.path else [-shape for shape in self._shapes]
        return self._space.circuit.all_of(held)

    def _test(self, attribute: Attribute, matcher: Matcher) -> int:
        return self._space.literal(Predicate(attribute, matcher))

    def find(self, caller: int, route: int, verdict: Verdict) -> Case | None:
        """A request of that caller on that route for which the verdict is this."""
        allowed = self._access.allowed
        wanted = allowed if verdict is Verdict.ALLOW else -allowed
        return self._space.find(*self._ground.among, caller, route, wanted, simplest=True)

    def differing(self, allowed: Seen, denied: Seen) -> Iterator[str]:
        """What tells two requests apart, of all that the rules read which decide them."""
        found: dict[str, None] = {}
        for seen in (allowed, denied):
            match = seen.decision.match
            rule = None if match is None else self._rules.get(match)
            if rule is None:
                continue
            for clause in _clauses(rule):
                if any(
                    self._holds(each, allowed.case) != self._holds(each, denied.case)
                    for each in (*clause.wanted, *clause.unwanted)
                ):
                    found[_words(clause.attribute)] = None
        if denied.decision.stage is Stage.CUSTOM:
            found["an external authorizer"] = None
        yield from found or ("what the rules say together",)

    def _holds(self, predicate: Predicate, case: Case) -> bool:
        literal = self._space.literal(predicate)
        return literal == TRUE or (literal != FALSE and (case.holds[abs(literal)] > 0) == (literal > 0))


def _clauses(rule: LoweredRule) -> Iterator[Clause]:
    for part in (*rule.sources, *rule.operations, rule.conditions):
        yield from part


def _predicates(rule: LoweredRule) -> Iterator[Predicate]:
    for clause in _clauses(rule):
        yield from (*clause.wanted, *clause.unwanted)


def _words(attribute: Attribute) -> str:
    if attribute.key.endswith("."):
        return f"{attribute.key}{attribute.argument[0].removeprefix('envoy.filters.')}[{attribute.argument[1]}]"
    return attribute.key + "".join(f"[{name}]" for name in attribute.argument)


def _destination(snapshot: Snapshot, subject: Subject) -> Destination:
    workload, service = subject.workload, subject.service
    known: ServiceRef | None = service
    if len(snapshot.registry) and len(snapshot.registry.named(workload.id)) == 1:
        return Destination(workload=workload.id, service=known)
    return Destination(namespace=workload.namespace, labels=workload.labels, service=known)


# Folding: what is the same is shown once -------------------------------------------------------------------------------


_ORDER = (CallerKind.ACCOUNT, CallerKind.PATTERN, CallerKind.TOKEN, CallerKind.OTHER, CallerKind.PLAINTEXT)


def _folded(
    some: tuple[Subject, ...], groups: Sequence[Sequence[Caller]], rows: Sequence[tuple[Route, Sequence[Cell]]]
) -> Matrix:
    columns: list[tuple[list[Caller], list[Cell]]] = []
    for position, group in enumerate(groups):
        column = [cells[position] for _, cells in rows]
        same = next((known for known in columns if _alike(known[1], column)), None)
        if same is None:
            columns.append((list(group), column))
        else:
            same[0].extend(group)
    # Who is somebody stands before who is anybody.
    columns.sort(key=lambda column: max(_ORDER.index(caller.kind) for caller in column[0]))
    kept: list[tuple[Route, tuple[Cell, ...]]] = []
    for number, (route, _) in enumerate(rows):
        cells = tuple(column[number] for _, column in columns)
        if kept and (both := _together(kept[-1][0], route)) is not None and _alike(kept[-1][1], cells):
            kept[-1] = both, cells
        else:
            kept.append((route, cells))
    return Matrix(
        subjects=some,
        callers=tuple(tuple(group) for group, _ in columns),
        routes=tuple(route for route, _ in kept),
        cells=tuple(cells for _, cells in kept),
    )


def _alike(some: Sequence[Cell], others: Sequence[Cell]) -> bool:
    return all(one.told == other.told for one, other in zip(some, others, strict=True))


def _together(before: Route, route: Route) -> Route | None:
    """Both as one, if they differ in their methods only."""
    if (before.protocol, before.path, before.port) != (route.protocol, route.path, route.port) or before.others:
        return None
    if route.protocol is Protocol.TCP:
        return None
    if not route.others:
        return Route(methods=(*before.methods, *route.methods), path=route.path, port=route.port)
    # All methods but those that stand alone, and these are no longer alone.
    rest = tuple(method for method in route.methods if method not in before.methods)
    return Route(methods=rest, others=True, path=route.path, port=route.port)
