"""Explanation: for one request every policy, rule and clause that applies, what was wanted, what was there, and whether it held.

Whether something held is asked of the reference, list by list. The tree cannot say: it stops where nothing can match any more.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from authz.attributes import Attributes, Value
from authz.decision import Decision, Match, Stage, Verdict, rule_order
from authz.errors import MalformedKeyError, UnknownKeyError, UnsupportedValueError
from authz.keys import OPERATION_FIELDS, SOURCE_FIELDS, Attribute, resolve
from authz.model import Action, Condition, Operation, Policy, Rule, Source, field_name
from authz.semantics import RuleDropped, RuleReader, decide, rule_matches
from authz.span import Path
from authz.values import Scope

__all__ = [
    "ClauseReport",
    "Explanation",
    "NearMiss",
    "PartReport",
    "PolicyReport",
    "RuleReport",
    "StageReport",
    "explain",
    "missing",
    "nearest_miss",
    "stage_of",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClauseReport:
    """One list of values as the document has it, and whether it held.

    `field` is what the document calls it, `paths` or `notPaths`, or the key of a condition; `path` leads to it among the spans
    of its policy. A `negated` one holds where none of `values` matches. `seen` is what the attribute reads, nothing where it is
    absent. `meaningless` are those of `values` that cannot be expressed for this request: they drop a rule that allows, and
    count for nothing in any other. The attribute is none where the key names none.
    """

    field: str
    attribute: Attribute | None
    values: tuple[str, ...]
    negated: bool
    seen: tuple[Value, ...]
    held: bool
    path: Path
    meaningless: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PartReport:
    """One of a rule's sources or operations: all of its clauses must hold. `path` leads to it."""

    path: Path
    clauses: tuple[ClauseReport, ...]
    held: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleReport:
    """One rule: any of its sources, any of its operations and all of its conditions must hold; a part it lacks asks for nothing.

    `dropped` says why a rule is as if it had not been written (semantics 0.5); such a one never holds, whatever its clauses do.
    """

    match: Match
    sources: tuple[PartReport, ...]
    operations: tuple[PartReport, ...]
    conditions: tuple[ClauseReport, ...]
    held: bool
    dropped: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyReport:
    """One policy, and its rules in the order in which they are written."""

    policy: Policy
    rules: tuple[RuleReport, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReport:
    """The policies of one stage, by their ids. Those of `Stage.NONE` decide nothing: audits and dry runs."""

    stage: Stage
    policies: tuple[PolicyReport, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NearMiss:
    """The ALLOW rule that came nearest, and the clauses of it that would have to hold for it to match."""

    match: Match
    missing: tuple[ClauseReport, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why one request is decided as it is.

    `decision` is the reference's. `stages` are always CUSTOM, DENY, ALLOW and NONE, each with the policies that there are for it;
    what stands behind the stage that decided is reported, too. `nearest` is only there where the request is denied: none where a
    rule allows it that was not come to, and where no ALLOW policy has a rule that could match.
    """

    decision: Decision
    stages: tuple[StageReport, ...]
    nearest: NearMiss | None


def explain(
    policies: Sequence[Policy],
    attributes: Attributes,
    *,
    trust_domains: tuple[str, ...],
    allowed_by: frozenset[str] = frozenset(),
) -> Explanation:
    """The decision about one request, and all that it comes of. What it takes is what `authz.semantics.decide` takes."""
    decision = decide(policies, attributes, trust_domains=trust_domains, allowed_by=allowed_by)
    reports: dict[Stage, list[PolicyReport]] = {
        stage: [] for stage in (Stage.CUSTOM, Stage.DENY, Stage.ALLOW, Stage.NONE)
    }
    for policy in sorted(policies, key=lambda policy: rule_order(policy, 0)):
        reports[stage_of(policy)].append(_policy_report(policy, attributes, trust_domains))
    return Explanation(
        decision=decision,
        stages=tuple(StageReport(stage=stage, policies=tuple(found)) for stage, found in reports.items()),
        nearest=nearest_miss(reports[Stage.ALLOW]) if decision.verdict is Verdict.DENY else None,
    )


def stage_of(policy: Policy) -> Stage:
    """Where `policy` decides; `Stage.NONE` if it only takes note."""
    match policy.action:
        case Action.CUSTOM:
            return Stage.CUSTOM  # a dry run is enforced, as in Istio
        case Action.DENY if not policy.dry_run:
            return Stage.DENY
        case Action.ALLOW if not policy.dry_run:
            return Stage.ALLOW
        case _:
            return Stage.NONE


def nearest_miss(policies: Iterable[PolicyReport]) -> NearMiss | None:
    """Of ALLOW policies the rule with the fewest clauses that would have to hold besides; of several such the one reported first.

    A rule that is dropped is never it: nothing in a request could make it match. None where a rule holds, or none could.
    """
    rules = [
        (rule, rule_order(report.policy, rule.match.rule))
        for report in policies
        for rule in report.rules
        if rule.dropped is None
    ]
    if not rules or any(rule.held for rule, _ in rules):
        return None
    misses = [(NearMiss(match=rule.match, missing=missing(rule)), order) for rule, order in rules]
    return min(misses, key=lambda miss: (len(miss[0].missing), miss[1]))[0]


def missing(rule: RuleReport) -> tuple[ClauseReport, ...]:
    """The clauses that would have to hold for `rule` to match: of its sources and operations those of the best."""
    return _fewest(rule.sources) + _fewest(rule.operations) + _failing(rule.conditions)


def _fewest(alternatives: Sequence[PartReport]) -> tuple[ClauseReport, ...]:
    """What fails of the best alternative: nothing where one holds."""
    return min((_failing(part.clauses) for part in alternatives), key=len, default=())


def _failing(clauses: Iterable[ClauseReport]) -> tuple[ClauseReport, ...]:
    return tuple(clause for clause in clauses if not clause.held)


# Asking the reference -------------------------------------------------------------------------------------------------


def _policy_report(policy: Policy, attributes: Attributes, trust_domains: tuple[str, ...]) -> PolicyReport:
    scope = Scope(policy.namespace, trust_domains)
    rules = tuple(_rule_report(rule, index, policy, attributes, scope) for index, rule in enumerate(policy.rules))
    return PolicyReport(policy=policy, rules=rules)


def _rule_report(rule: Rule, index: int, policy: Policy, attributes: Attributes, scope: Scope) -> RuleReport:
    asking = _Asking(RuleReader(policy.action, attributes, scope))
    path: Path = ("spec", "rules", index)
    return RuleReport(
        match=Match(policy.id, index),
        sources=tuple(
            asking.part(source, SOURCE_FIELDS, (*path, "from", position, "source"))
            for position, source in enumerate(rule.sources)
        ),
        operations=tuple(
            asking.part(operation, OPERATION_FIELDS, (*path, "to", position, "operation"))
            for position, operation in enumerate(rule.operations)
        ),
        conditions=tuple(
            clause
            for position, condition in enumerate(rule.conditions)
            for clause in asking.condition(condition, (*path, "when", position))
        ),
        held=rule_matches(rule, policy, attributes, scope),
        dropped=asking.dropped,
    )


class _Asking:
    """Asks for each list of one rule. `dropped` becomes why the rule is dropped, if it is."""

    def __init__(self, reader: RuleReader) -> None:
        self._reader = reader
        self.dropped: str | None = None

    def part(self, part: Source | Operation, fields: Mapping[str, Attribute], path: Path) -> PartReport:
        clauses = tuple(
            self._field(field_name(name), attribute, values, (*path, field_name(name)), negated=negated)
            for field, attribute in fields.items()
            for name, negated in ((field, False), (f"not_{field}", True))
            if (values := getattr(part, name))
        )
        return PartReport(path=path, clauses=clauses, held=all(clause.held for clause in clauses))

    def condition(self, condition: Condition, path: Path) -> Iterable[ClauseReport]:
        lists = (("values", condition.values, False), ("notValues", condition.not_values, True))
        # One without values, which no parser lets through, still has a key.
        for name, values, negated in [each for each in lists if each[1]] or lists[:1]:
            try:
                attribute = resolve(condition.key)
            except (UnknownKeyError, MalformedKeyError):
                only = Condition(key=condition.key, values=values)
                yield self._without_attribute(only, (*path, "key"), negated=negated)
            else:
                yield self._field(condition.key, attribute, values, (*path, name), negated=negated)

    def _field(
        self, field: str, attribute: Attribute, values: tuple[str, ...], path: Path, *, negated: bool
    ) -> ClauseReport:
        wanted, unwanted = ((), values) if negated else (values, ())
        try:
            held = self._reader.field(attribute, wanted, unwanted)
        except RuleDropped as reason:
            held = self._drop(reason)
        return ClauseReport(
            field=field,
            attribute=attribute,
            values=values,
            negated=negated,
            seen=attribute.read(self._reader.attributes),
            held=held,
            path=path,
            meaningless=tuple(value for value in values if not self._means_something(attribute, value)),
        )

    def _without_attribute(self, condition: Condition, path: Path, *, negated: bool) -> ClauseReport:
        try:
            held = self._reader.condition(condition)
        except RuleDropped as reason:
            held = self._drop(reason)
        return ClauseReport(
            field=condition.key,
            attribute=None,
            values=condition.values,
            negated=negated,
            seen=(),
            held=held,
            path=path,
            meaningless=condition.values,
        )

    def _drop(self, reason: RuleDropped) -> bool:
        self.dropped = self.dropped or str(reason)
        return False

    def _means_something(self, attribute: Attribute, value: str) -> bool:
        try:
            self._reader.meaning(attribute, value)
        except UnsupportedValueError:
            return False
        return True
