"""DecisionTree: the policies that apply to one workload, compiled to be decided without trying rule after rule.

Every alternative of every rule is a *lane*, a bit. The tree dispatches on one attribute after the other: an index gives the
lanes whose clause on that attribute holds, and the lanes left over after the last attribute are those of the rules that
match. Lanes are laid out in the order in which Istio's filters and Envoy's rule ids decide, so the lowest one left is the
rule that decides.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product

from authz.attributes import Attributes, Protocol, Value
from authz.decision import Decision, Match, Shadow, Stage, Trigger, Verdict
from authz.index import Index
from authz.keys import KEYS, Attribute
from authz.matcher import Matcher
from authz.model import Action, Policy
from authz.predicates import Clause, LoweredRule, Part, PredicateTable

__all__ = ["DecisionTree", "compile_policies"]


def compile_policies(policies: Iterable[Policy], *, trust_domains: tuple[str, ...]) -> "DecisionTree":
    """The tree that decides as `semantics.decide` does for `policies`, those that apply to one workload.

    `trust_domains` are the mesh's own and its aliases. Takes time and memory linear in the rules, but for the sets of lanes:
    a bit per rule for each distinct value.
    """
    return DecisionTree(tuple(policies), trust_domains)


class DecisionTree:
    """Decides requests for one workload. It holds no state that a decision changes, and may be shared between threads."""

    __slots__ = ("_chains", "headers", "providers", "reads", "size")

    def __init__(self, policies: tuple[Policy, ...], trust_domains: tuple[str, ...]) -> None:
        table = PredicateTable(trust_domains=trust_domains)
        self._chains = {protocol: _Chain(policies, protocol, table) for protocol in Protocol}
        self.size = len(table)
        """How many distinct predicates the rules have."""
        self.reads = frozenset(predicate.attribute for predicate in table)
        """Every attribute that some rule looks at."""
        self.headers = frozenset(
            attribute.argument[0] for attribute in self.reads if attribute.key == "request.headers"
        )
        """The lower-case names of the headers that some rule looks at."""
        self.providers = frozenset(policy.provider or "" for policy in policies if policy.action is Action.CUSTOM)
        """The external authorizers that CUSTOM policies name, the empty name among them where one names none."""

    def decide(self, attributes: Attributes, *, allowed_by: frozenset[str] = frozenset()) -> Decision:
        """The decision that the reference makes for the same policies."""
        return self._chains[attributes.protocol].decide(attributes, allowed_by)

    def triggered(self, attributes: Attributes) -> tuple[Trigger, ...]:
        """The external authorizers to ask about this request, as the reference finds them."""
        return self._chains[attributes.protocol].triggered(attributes)


class _Chain:
    """The filters of one protocol, as one set of lanes: CUSTOM, DENY, ALLOW, and after them those that enforce nothing."""

    def __init__(self, policies: tuple[Policy, ...], protocol: Protocol, table: PredicateTable) -> None:
        def of(action: Action, *, dry_run: bool) -> list[LoweredRule]:
            chosen = (p for p in policies if p.action is action and p.dry_run is dry_run)
            return sorted(
                (rule for policy in chosen for rule in table.lower(policy, protocol)), key=lambda rule: rule.order
            )

        custom = sorted(of(Action.CUSTOM, dry_run=False) + of(Action.CUSTOM, dry_run=True), key=lambda rule: rule.order)
        stages = {
            "custom": custom,
            "deny": of(Action.DENY, dry_run=False),
            "allow": of(Action.ALLOW, dry_run=False),
            "audit": of(Action.AUDIT, dry_run=False),
            "shadow_deny": of(Action.DENY, dry_run=True),
            "shadow_allow": of(Action.ALLOW, dry_run=True),
        }
        lanes = _Lanes()
        masks = {name: lanes.add(rules) for name, rules in stages.items()}
        # Which lanes ask which provider, in the order in which the providers are asked: a rule's order begins with its name.
        self._providers: dict[str, int] = {}
        for lane in _lanes_of(masks["custom"]):
            provider = lanes.orders[lane][0]
            self._providers[provider] = self._providers.get(provider, 0) | 1 << lane
        self._match = _Matching(lanes.parts, lanes.grouped)
        self._owners = lanes.owners
        self._enforced = masks["custom"] | masks["deny"] | masks["allow"]
        self._audit = masks["audit"]
        self._shadow_deny = masks["shadow_deny"]
        self._shadow_allow = masks["shadow_allow"]
        kinds = {(p.action, p.dry_run) for p in policies}
        self._has_shadow_deny = (Action.DENY, True) in kinds
        self._has_shadow_allow = (Action.ALLOW, True) in kinds
        self._silent = not (self._has_shadow_deny or self._has_shadow_allow or self._audit)
        self._default = _NO_RULE_MATCHES if (Action.ALLOW, False) in kinds else _NO_POLICY_APPLIES
        outcomes = {"custom": _custom, "deny": _deny, "allow": _allow}
        # A decision says nothing of the request, so each is made once.
        self._outcomes = [
            outcome(lanes.owners[lane]) for name, outcome in outcomes.items() for lane in _lanes_of(masks[name])
        ]

    def triggered(self, attributes: Attributes) -> tuple[Trigger, ...]:
        if not self._providers:
            return ()
        lanes = self._match.lanes(attributes)
        return tuple(
            Trigger(provider, self._owners[_lowest(lanes & own)])
            for provider, own in self._providers.items()
            if lanes & own
        )

    def decide(self, attributes: Attributes, allowed_by: frozenset[str]) -> Decision:
        lanes = self._match.lanes(attributes)
        for provider in allowed_by:
            lanes &= ~self._providers.get(provider, 0)
        enforced = lanes & self._enforced
        decision = self._outcomes[_lowest(enforced)] if enforced else self._default
        return decision if self._silent else self._with_shadows(decision, lanes)

    def _with_shadows(self, decision: Decision, lanes: int) -> Decision:
        denied_early = decision.verdict is Verdict.DENY and decision.stage in (Stage.CUSTOM, Stage.DENY)
        return replace(
            decision,
            audit=bool(lanes & self._audit) and decision.stage is not Stage.CUSTOM,
            shadow_deny=self._shadow(lanes & self._shadow_deny, Verdict.DENY, Verdict.ALLOW)
            if self._has_shadow_deny and decision.stage is not Stage.CUSTOM
            else None,
            shadow_allow=self._shadow(lanes & self._shadow_allow, Verdict.ALLOW, Verdict.DENY)
            if self._has_shadow_allow and not denied_early
            else None,
        )

    def _shadow(self, lanes: int, matched: Verdict, unmatched: Verdict) -> Shadow:
        return Shadow(matched, self._owners[_lowest(lanes)]) if lanes else Shadow(unmatched, None)


def _custom(match: Match) -> Decision:
    return Decision(
        verdict=Verdict.DENY,
        stage=Stage.CUSTOM,
        action=Action.CUSTOM,
        match=match,
        reason="a CUSTOM rule matches, and no authorizer has let the request through",
    )


def _deny(match: Match) -> Decision:
    return Decision(
        verdict=Verdict.DENY, stage=Stage.DENY, action=Action.DENY, match=match, reason="a DENY rule matches"
    )


def _allow(match: Match) -> Decision:
    return Decision(
        verdict=Verdict.ALLOW, stage=Stage.ALLOW, action=Action.ALLOW, match=match, reason="an ALLOW rule matches"
    )


_NO_RULE_MATCHES = Decision(
    verdict=Verdict.DENY, stage=Stage.ALLOW, action=Action.ALLOW, match=None, reason="no ALLOW rule matches"
)
_NO_POLICY_APPLIES = Decision(
    verdict=Verdict.ALLOW,
    stage=Stage.NONE,
    action=None,
    match=None,
    reason="no ALLOW policy applies and no other denies",
)


def _lowest(lanes: int) -> int:
    return (lanes & -lanes).bit_length() - 1


def _lanes_of(mask: int) -> range:
    """The lanes of one stage, which are neighbours."""
    return range(_lowest(mask), mask.bit_length()) if mask else range(0)


@dataclass(frozen=True, slots=True)
class _Grouped:
    """Rules with several sources and several operations: their sources are matched apart, so that nothing multiplies."""

    sources: tuple[Part, ...]
    lanes: int


class _Lanes:
    """The lanes of a chain while it is built: each a part that must hold as a whole, and the rule it belongs to."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.owners: list[Match] = []
        self.orders: list[tuple[str, str]] = []
        self.grouped: list[_Grouped] = []

    def add(self, rules: Iterable[LoweredRule]) -> int:
        """Give each rule its lanes, and say which bits they all have."""
        start = len(self.parts)
        for rule in rules:
            first = len(self.parts)
            if len(rule.sources) == 1 or len(rule.operations) == 1:
                # Linear, because one of the two has a single alternative.
                alternatives = [s + o + rule.conditions for s, o in product(rule.sources, rule.operations)]
            else:
                alternatives = [operation + rule.conditions for operation in rule.operations]
                lanes = (1 << first + len(alternatives)) - (1 << first)
                self.grouped.append(_Grouped(rule.sources, lanes))
            self.parts += alternatives
            self.owners += [rule.match] * len(alternatives)
            self.orders += [rule.order] * len(alternatives)
        return (1 << len(self.parts)) - (1 << start)


class _Matching:
    """Which of many parts hold."""

    def __init__(self, parts: Sequence[Part], grouped: Sequence[_Grouped] = ()) -> None:
        self._all = (1 << len(parts)) - 1
        self._steps = [dimension.step(self._all) for dimension in _dimensions(parts)]
        self._grouped = _Groups(grouped) if grouped else None

    def lanes(self, attributes: Attributes) -> int:
        """The bits of the parts that hold for `attributes`."""
        lanes = self._all
        for step in self._steps:
            values = step.read(attributes, step.argument)
            if values:
                if step.wanted is not None:
                    lanes &= step.free | step.wanted.lookup(values)
                if step.unwanted is not None:
                    lanes &= ~step.unwanted.lookup(values)
            else:
                # Absent: nothing that is wanted holds, and nothing that is not.
                lanes &= step.free
            if not lanes:
                return 0
        return lanes if self._grouped is None else lanes & self._grouped.lanes(attributes, self._all)


class _Groups:
    """The sources of grouped rules: a matching of their own, whose answers stand for the lanes of the whole rule."""

    def __init__(self, grouped: Sequence[_Grouped]) -> None:
        self._matching = _Matching([source for group in grouped for source in group.sources])
        self._members: list[tuple[int, int]] = []
        start = 0
        for group in grouped:
            end = start + len(group.sources)
            self._members.append(((1 << end) - (1 << start), group.lanes))
            start = end

    def lanes(self, attributes: Attributes, every: int) -> int:
        held = self._matching.lanes(attributes)
        for sources, lanes in self._members:
            if not held & sources:
                every &= ~lanes
        return every


@dataclass(slots=True)
class _Step:
    """One dispatch: read an attribute, keep the lanes that ask nothing of it or whose clause it satisfies."""

    read: Callable[[Attributes, tuple[str, ...]], tuple[Value, ...]]
    argument: tuple[str, ...]
    free: int
    wanted: Index | None
    unwanted: Index | None


class _Dimension:
    """The clauses of all lanes on one attribute, at most one with wanted predicates a lane."""

    def __init__(self, attribute: Attribute) -> None:
        self.attribute = attribute
        self.demanding = 0
        self.wanted: dict[Matcher, int] = {}
        self.unwanted: dict[Matcher, int] = {}

    def add(self, clause: Clause, lane: int) -> None:
        if clause.wanted:
            self.demanding |= lane
        for into, predicates in ((self.wanted, clause.wanted), (self.unwanted, clause.unwanted)):
            for predicate in predicates:
                into[predicate.matcher] = into.get(predicate.matcher, 0) | lane

    def step(self, every: int) -> _Step:
        return _Step(
            read=KEYS[self.attribute.key].read,
            argument=self.attribute.argument,
            free=every & ~self.demanding,
            wanted=Index(self.wanted) if self.wanted else None,
            unwanted=Index(self.unwanted) if self.unwanted else None,
        )


def _dimensions(parts: Sequence[Part]) -> list[_Dimension]:
    """One dimension an attribute; another where a lane has two demands on it, as two `when` on one header are."""
    dimensions: dict[tuple[Attribute, int], _Dimension] = {}
    for number, part in enumerate(parts):
        lane = 1 << number
        demands: dict[Attribute, int] = {}
        for clause in part:
            copy = demands.get(clause.attribute, 0)
            demands[clause.attribute] = copy + bool(clause.wanted)
            key = (clause.attribute, copy)
            dimension = dimensions.get(key) or dimensions.setdefault(key, _Dimension(clause.attribute))
            dimension.add(clause, lane)
    # The one with the most demands empties the set of lanes soonest.
    return sorted(dimensions.values(), key=lambda dimension: -dimension.demanding.bit_count())
