"""Coverage: which policies, rules, clauses and routes the cases of a suite have put to the test.

A rule is covered if it decided a case: one that matches and never decides could be taken away without any test noticing. A
clause, a list of values in a rule, is covered twice: once where it was seen to hold, and once where it was seen not to. Only what
applies to the workloads of the tests counts.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from authz.attributes import Attributes, Protocol, Value
from authz.decision import Decision, Match, Stage, Verdict
from authz.explain import ClauseReport, Explanation, RuleReport, explain
from authz.keys import Attribute
from authz.model import Action, Policy
from authz.span import Path, Span
from authz.tree import DecisionTree
from mesh.testing.running import Case
from mesh.testing.suites import Place, Suite
from parser.openapi import Route
from parser.policy_tests import CoverageGate

__all__ = ["Clause", "Coverage", "Covering", "PolicyCover", "Ratio", "RouteCover", "RuleCover", "merged", "shortfalls"]


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many of how many."""

    covered: int
    total: int

    @property
    def percent(self) -> float:
        """In per cent; all of nothing is all."""
        return 100.0 if not self.total else 100.0 * self.covered / self.total


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """A list of values in a rule: where it is, and whether it was seen to hold, and not to."""

    policy: str
    rule: int
    field: str
    span: Span | None
    held: bool
    failed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleCover:
    """A rule, and how many cases it decided."""

    policy: str
    rule: int
    span: Span | None
    decided: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyCover:
    """A policy, and whether it decided anything. One without rules that allows nothing does where nothing else allows."""

    policy: str
    span: Span | None
    covered: bool


@dataclass(frozen=True, slots=True)
class RouteCover:
    """A route of an API, and how many cases asked for it and were decided by a rule."""

    route: Route
    decided: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What was covered, each in the order of the documents."""

    policies: tuple[PolicyCover, ...] = ()
    rules: tuple[RuleCover, ...] = ()
    clauses: tuple[Clause, ...] = ()
    routes: tuple[RouteCover, ...] = ()

    @property
    def of_policies(self) -> Ratio:
        """Policies that decided something."""
        return Ratio(sum(policy.covered for policy in self.policies), len(self.policies))

    @property
    def of_rules(self) -> Ratio:
        """Rules that decided something."""
        return Ratio(sum(rule.decided > 0 for rule in self.rules), len(self.rules))

    @property
    def of_conditions(self) -> Ratio:
        """Clauses that held, and clauses that did not: two for each."""
        return Ratio(sum(clause.held + clause.failed for clause in self.clauses), 2 * len(self.clauses))

    @property
    def of_routes(self) -> Ratio:
        """Routes that a rule decided about."""
        return Ratio(sum(route.decided > 0 for route in self.routes), len(self.routes))


def shortfalls(coverage: Coverage, gate: CoverageGate | None) -> tuple[str, ...]:
    """What is covered less than `gate` demands, a sentence each."""
    if gate is None:
        return ()
    demanded = (
        ("policies", coverage.of_policies, gate.policies),
        ("rules", coverage.of_rules, gate.rules),
        ("conditions", coverage.of_conditions, gate.conditions),
        ("routes", coverage.of_routes, None if gate.routes is None else gate.routes.minimum),
    )
    return tuple(
        f"{ratio.percent:.1f} % of the {what} are covered, and {minimum:g} % are demanded"
        for what, ratio, minimum in demanded
        if minimum is not None and ratio.percent < minimum
    )


def merged(coverages: Sequence[Coverage]) -> Coverage:
    """What several suites have covered together. What is at the same place in the same file is the same."""
    policies: dict[object, PolicyCover] = {}
    rules: dict[object, RuleCover] = {}
    clauses: dict[object, Clause] = {}
    routes: dict[Route, RouteCover] = {}
    for coverage in coverages:
        for policy in coverage.policies:
            key: object = (policy.policy, policy.span)
            known = policies.get(key, policy)
            policies[key] = replace(policy, covered=policy.covered or known.covered)
        for rule in coverage.rules:
            key = (rule.policy, rule.rule, rule.span)
            rules[key] = replace(rule, decided=rule.decided + (rules[key].decided if key in rules else 0))
        for clause in coverage.clauses:
            key = (clause.policy, clause.rule, clause.field, clause.span)
            before = clauses.get(key, clause)
            clauses[key] = replace(clause, held=clause.held or before.held, failed=clause.failed or before.failed)
        for cover in coverage.routes:
            decided = cover.decided + (routes[cover.route].decided if cover.route in routes else 0)
            routes[cover.route] = RouteCover(cover.route, decided)
    return Coverage(
        policies=tuple(policies.values()),
        rules=tuple(rules.values()),
        clauses=tuple(clauses.values()),
        routes=tuple(routes.values()),
    )


@dataclass(slots=True)
class _Cover:
    """What is known of one clause so far."""

    clause: ClauseReport
    held: bool = False
    failed: bool = False


# Both lists of a condition without a meaning stand where its key does.
_Id = tuple[str, Path, bool]
_Sight = tuple[Stage, Protocol, Attribute, tuple[Value, ...]]


@dataclass(slots=True)
class _AtPlace:
    """What applies to one workload, and what the policies have looked at there."""

    policies: tuple[Policy, ...]
    reads: frozenset[Attribute]
    sights: set[_Sight] = field(default_factory=set)


class Covering:
    """Gathers what the cases of one suite cover. `watch` is to be what decides each of them, and `note` is told of each."""

    def __init__(self, suite: Suite) -> None:
        self._suite = suite
        self._domains = suite.snapshot.config.trust_domains
        self._asked: tuple[DecisionTree, Attributes, frozenset[str]] | None = None
        self._places: dict[str, _AtPlace] = {}
        self._decided: dict[Match, int] = {}
        self._clauses: dict[_Id, _Cover] = {}
        self._silent: set[str] = set()
        self._routes = _Routes(suite.routes)

    def watch(self, tree: DecisionTree, attributes: Attributes, /, *, allowed_by: frozenset[str]) -> Decision:
        """The tree's decision, remembering what it was asked."""
        self._asked = tree, attributes, allowed_by
        return tree.decide(attributes, allowed_by=allowed_by)

    def note(self, case: Case, decision: Decision) -> None:
        """Take account of a case that was decided."""
        asked, self._asked = self._asked, None
        at = self._at(case.test.to.text, case.place)
        if asked is None:
            return
        tree, attributes, allowed_by = asked
        matches = [
            decision.match,
            *(shadow.match for shadow in (decision.shadow_deny, decision.shadow_allow) if shadow),
        ]
        if tree.providers and decision.stage is not Stage.CUSTOM:
            matches += [trigger.match for trigger in tree.triggered(attributes)]
        for match in filter(None, matches):
            self._decided[match] = self._decided.get(match, 0) + 1
        if decision.stage is Stage.ALLOW and decision.match is None:
            self._silent.update(policy.id for policy in at.policies if _allows_nothing(policy))
        if decision.match is not None and attributes.method is not None and attributes.path is not None:
            self._routes.count(attributes.method, attributes.path)
        sights: set[_Sight] = {
            (decision.stage, attributes.protocol, attribute, attribute.read(attributes)) for attribute in at.reads
        }
        if sights <= at.sights and not (decision.audit and self._misses_audits(at)):
            return
        # A clause looks at one attribute: where every value has been seen, there is nothing new to see.
        at.sights |= sights
        self._take(explain(at.policies, attributes, trust_domains=self._domains, allowed_by=allowed_by), decision)

    def coverage(self) -> Coverage:
        """What was covered by now."""
        for test in self._suite.tests.tests:
            if test.to.text:
                self._at(test.to.text, self._suite.places[test.to.text])
        policies = {policy.id: policy for at in self._places.values() for policy in at.policies}
        ordered = sorted(policies.values(), key=lambda policy: _place(policy.span()))
        return Coverage(
            policies=tuple(
                PolicyCover(policy=policy.id, span=policy.span("metadata", "name"), covered=self._covers(policy))
                for policy in ordered
                if policy.rules or _allows_nothing(policy)
            ),
            rules=tuple(
                RuleCover(
                    policy=policy.id,
                    rule=index,
                    span=policy.span("spec", "rules", index),
                    decided=self._decided.get(Match(policy.id, index), 0),
                )
                for policy in ordered
                for index in range(len(policy.rules))
            ),
            clauses=tuple(clause for policy in ordered for clause in self._clauses_of(policy)),
            routes=self._routes.covers(),
        )

    def _at(self, to: str, place: Place) -> _AtPlace:
        if (at := self._places.get(to)) is None:
            policies = self._suite.applying(place)
            reads = self._suite.snapshot.tree(place.workload, place.service).reads
            at = self._places[to] = _AtPlace(policies, reads)
            # Of clauses that no case comes to it must be known, too, that they are there.
            for policy, _, clause in _clauses(explain(policies, Attributes(), trust_domains=self._domains)):
                self._clauses.setdefault((policy.id, clause.path, clause.negated), _Cover(clause))
        return at

    def _take(self, explanation: Explanation, decision: Decision) -> None:
        """See what each clause came to, of those that were come to."""
        for policy, rule, clause in _clauses(explanation):
            if rule.dropped is None and _reached(policy, decision):
                cover = self._clauses[policy.id, clause.path, clause.negated]
                cover.held |= clause.held
                cover.failed |= not clause.held
        if decision.audit:
            for stage in explanation.stages:
                for report in stage.policies:
                    if report.policy.action is Action.AUDIT and not report.policy.dry_run:
                        for rule in report.rules:
                            if rule.held:
                                self._decided[rule.match] = self._decided.get(rule.match, 0) + 1

    def _misses_audits(self, at: _AtPlace) -> bool:
        return any(
            Match(policy.id, index) not in self._decided
            for policy in at.policies
            if policy.action is Action.AUDIT
            for index in range(len(policy.rules))
        )

    def _covers(self, policy: Policy) -> bool:
        return policy.id in self._silent or any(
            Match(policy.id, index) in self._decided for index in range(len(policy.rules))
        )

    def _clauses_of(self, policy: Policy) -> Iterator[Clause]:
        for (name, path, _), cover in self._clauses.items():
            if name == policy.id:
                yield Clause(
                    policy=name,
                    rule=int(path[2]),
                    field=cover.clause.field,
                    span=policy.span(*path),
                    held=cover.held,
                    failed=cover.failed,
                )


def _clauses(explanation: Explanation) -> Iterator[tuple[Policy, RuleReport, ClauseReport]]:
    for stage in explanation.stages:
        for report in stage.policies:
            for rule in report.rules:
                for part in (*rule.sources, *rule.operations):
                    for clause in part.clauses:
                        yield report.policy, rule, clause
                for clause in rule.conditions:
                    yield report.policy, rule, clause


def _reached(policy: Policy, decision: Decision) -> bool:
    """Whether a case that was so decided came as far as the policy."""
    if policy.action is Action.CUSTOM:
        return True
    if decision.verdict is Verdict.ALLOW or decision.stage is Stage.ALLOW:
        return True
    return decision.stage is Stage.DENY and policy.action is not Action.ALLOW


def _allows_nothing(policy: Policy) -> bool:
    return policy.action is Action.ALLOW and not policy.rules and not policy.dry_run


def _place(span: Span | None) -> tuple[str, int, int]:
    return ("", 0, 0) if span is None else (span.file, span.line, span.column)


class _Routes:
    """The routes of an API, found by what is asked for."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._decided = dict.fromkeys(routes, 0)
        # OpenAPI: a path without parameters is matched before those with.
        ordered = sorted(self._decided, key=lambda route: route.parameters)
        self._expressions = [(route, route.expression()) for route in ordered]
        self._known: dict[tuple[str, str], Route | None] = {}

    def count(self, method: str, path: str) -> None:
        """A rule decided about such a request."""
        if not self._expressions:
            return
        asked = method, path.partition("?")[0]
        if asked not in self._known:
            fitting = (route for route, expression in self._expressions if expression.fullmatch(asked[1]))
            self._known[asked] = next((route for route in fitting if route.method == method), None)
        if (route := self._known[asked]) is not None:
            self._decided[route] += 1

    def covers(self) -> tuple[RouteCover, ...]:
        return tuple(RouteCover(route, decided) for route, decided in self._decided.items())
