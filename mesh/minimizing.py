"""Minimizing: policies without what a proof shows to change nothing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from authz.analysis.access import Guarding
from authz.analysis.circuit import FALSE
from authz.attributes import Protocol
from authz.invariants import Assumed
from authz.model import Action, Policy, Rule
from authz.span import Path
from mesh.limits import MOST_MINIMIZED_RULES, refuse_too_many_rules
from mesh.proving.ground import Contradiction, Ground, Shared
from mesh.proving.subjects import alike, subjects
from mesh.snapshot import Snapshot

__all__ = ["Dropped", "Minimized", "minimize"]

_At = TypeVar("_At")
_What = TypeVar("_What")
_Key = tuple[str, int]
"""A rule: the policy's id, and its place in that as it was."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """What a policy can do without: a rule, an entry of one, or a value, by its place in the policy as it was."""

    policy: str
    path: Path
    what: str


@dataclass(frozen=True, slots=True)
class Minimized:
    """The policies of a mesh, in their order, without what was `dropped`, and how many questions were answered for that."""

    policies: tuple[Policy, ...]
    dropped: tuple[Dropped, ...]
    questions: int


def minimize(snapshot: Snapshot) -> Minimized:
    """Drop whatever leaves every verdict about every request to every workload as it is.

    Only what is enforced is looked at, and of that ALLOW and DENY. Which rule decides may change, and what was redundant because of
    something else stays when that goes.

    Raises:
        TooManyError: More than `MOST_MINIMIZED_RULES` rules stand before a workload.
        Contradiction: The reference decides a case otherwise than the analysis says.
    """
    minimizer = _Minimizer(snapshot)
    policies = tuple(map(minimizer.without, snapshot.policies))
    minimizer.require_same()
    return Minimized(policies, tuple(minimizer.dropped), minimizer.questions)


@dataclass(frozen=True, slots=True)
class _Rule:
    """A rule with the place of each of its parts in the document as it was."""

    rule: Rule
    index: int
    sources: tuple[int, ...]
    operations: tuple[int, ...]
    conditions: tuple[int, ...]


class _Minimizer:
    def __init__(self, snapshot: Snapshot) -> None:
        self._normalization = snapshot.config.path_normalization
        groups = list(alike(snapshot, subjects(snapshot)))
        refuse_too_many_rules(
            ((group[0].name, guarding.policies) for guarding, group in groups), most=MOST_MINIMIZED_RULES
        )
        self._were = [guarding for guarding, _ in groups]
        self._places = [
            _Place(
                guarding,
                Shared(protocol, normalization=self._normalization, issuers=guarding.issuers, assumed=Assumed()),
            )
            for guarding in self._were
            for protocol in Protocol
        ]
        self.dropped: list[Dropped] = []
        self.questions = 0

    def without(self, policy: Policy) -> Policy:
        """The policy without what it can do without, given that those before it are as they are by now."""
        if policy.action not in (Action.ALLOW, Action.DENY) or policy.dry_run:
            return policy
        places = [place for place in self._places if place.has(policy)]
        if not places:
            return policy
        rules: list[_Rule] = []
        # Whole rules first, from the last on: of two that say the same the first stays.
        for index, rule in reversed(list(enumerate(policy.rules))):
            enough = rules or index or policy.action is Action.ALLOW
            if enough and self._same(places, policy, index, None):
                for place in places:
                    place.take(policy, index, None)
                self.dropped.append(Dropped(policy.id, ("spec", "rules", index), "rule"))
            else:
                parts = (rule.sources, rule.operations, rule.conditions)
                rules.insert(0, _Rule(rule, index, *(tuple(range(len(part))) for part in parts)))
        least = [self._least(places, policy, rule) for rule in rules]
        if least == list(policy.rules):
            return policy
        return replace(policy, rules=tuple(least))

    def _least(self, places: Sequence["_Place"], policy: Policy, rule: _Rule) -> Rule:
        """A rule with as little in it as can be."""
        progress = True
        while progress:
            progress = False
            for smaller, path, what in _smaller(rule):
                if self._same(places, policy, rule.index, smaller.rule):
                    for place in places:
                        place.take(policy, rule.index, smaller.rule)
                    self.dropped.append(Dropped(policy.id, path, what))
                    rule, progress = smaller, True
                    break
        return rule.rule

    def _same(self, places: Sequence["_Place"], policy: Policy, index: int, smaller: Rule | None) -> bool:
        self.questions += 2 * len(places)
        return not any(place.is_changed(policy, index, smaller) for place in places)

    def require_same(self) -> None:
        """See that all that was dropped changes nothing together: asked anew, of formulas that the steps had no part in.

        Raises:
            Contradiction: It does.
        """
        now = [place.guarding() for place in self._places[:: len(Protocol)]]
        for was, guarding in zip(self._were, now, strict=True):
            if was == guarding:
                continue
            for protocol in Protocol:
                shared = Shared(protocol, normalization=self._normalization, issuers=was.issuers, assumed=Assumed())
                ground = Ground(shared, guarding, old=was)
                if ground.old is None:
                    continue
                self.questions += 2
                for one, other in ((ground.new, ground.old), (ground.old, ground.new)):
                    if (found := ground.find(one.allowed, -other.allowed)) is not None:
                        raise Contradiction(f"{found.case.attributes} is decided otherwise than before")


class _Place:
    """What stands before workloads that are guarded alike, as it is by now, and the requests of one protocol to them.

    The requests are the same whatever is dropped, for nothing new is ever said: one space takes all questions.
    """

    def __init__(self, guarding: Guarding, shared: Shared) -> None:
        self._guarding = guarding
        self._rules = {policy.id: dict(enumerate(policy.rules)) for policy in guarding.policies}
        self._space, self._accesses = shared.space, shared.accesses
        access = self._accesses.of(guarding)
        self._reading = self._accesses.reading(guarding)
        self._closed = access.closed
        self._always = (*shared.among, -access.refused, -access.untaken, -access.unpassed)
        self._literals: dict[Action, dict[_Key, int]] = {
            action: {(rule.match.policy, rule.match.rule): rule.literal for rule in rules}
            for action, rules in ((Action.DENY, access.deny), (Action.ALLOW, access.allow))
        }
        self._any = {action: self._any_of(action) for action in self._literals}

    def has(self, policy: Policy) -> bool:
        """Whether the policy applies here."""
        return policy.id in self._rules

    def guarding(self) -> Guarding:
        """What stands here by now."""
        policies = tuple(
            replace(policy, rules=tuple(each for _, each in sorted(self._rules[policy.id].items())))
            for policy in self._guarding.policies
        )
        return replace(self._guarding, policies=policies)

    def is_changed(self, policy: Policy, index: int, smaller: Rule | None) -> bool:
        """Whether any request is decided otherwise with `smaller` instead of the rule that was at `index`, or without it."""
        key = (policy.id, index)
        literals = self._literals[policy.action]
        literal, other = literals.get(key, FALSE), self._literal(policy, smaller)
        if literal == other:
            return False
        # A rule decides where none beside it matches: an ALLOW rule of what is not denied, a DENY rule of what is allowed.
        others = [-each for at, each in literals.items() if at != key]
        if policy.action is Action.ALLOW:
            others.append(-self._any[Action.DENY])
        elif self._closed:
            others.append(self._any[Action.ALLOW])
        # Taken for changed, a part stays, and no harm is done; that what goes changes nothing is proved again at the end.
        possible = self._space.possible
        return any(possible(*self._always, *others, *each) for each in ((literal, -other), (-literal, other)))

    def take(self, policy: Policy, index: int, smaller: Rule | None) -> None:
        """Have `smaller` instead of the rule that was at `index`, or nothing."""
        key = (policy.id, index)
        self._rules[policy.id] = _with(self._rules[policy.id], index, smaller)
        self._literals[policy.action] = _with(self._literals[policy.action], key, self._literal(policy, smaller))
        self._any[policy.action] = self._any_of(policy.action)

    def _any_of(self, action: Action) -> int:
        return self._space.circuit.any_of(self._literals[action].values())

    def _literal(self, policy: Policy, rule: Rule | None) -> int:
        """Where a rule of the policy matches; nowhere where proxies drop it."""
        if rule is None:
            return FALSE
        alone = replace(policy, rules=(rule,))
        found = self._accesses.rules([alone], self._guarding.trust_domains, self._reading)
        return found[0].literal if found else FALSE


def _with(some: Mapping[_At, _What], at: _At, what: _What | None) -> dict[_At, _What]:
    """The same with something else at one place, or nothing."""
    rest = {each: its for each, its in some.items() if each != at}
    return rest if what is None else {**rest, at: what}


def _smaller(rule: _Rule) -> Iterator[tuple[_Rule, Path, str]]:
    """The rule with one thing less, with the place of that and what it is: entries first, then single values."""
    base: Path = ("spec", "rules", rule.index)
    for at, index in reversed(list(enumerate(rule.conditions))):
        conditions = _except(rule.rule.conditions, at)
        smaller = replace(rule, rule=replace(rule.rule, conditions=conditions), conditions=_except(rule.conditions, at))
        yield smaller, (*base, "when", index), "condition"
    for name, word in (("sources", "from"), ("operations", "to")):
        parts, places = getattr(rule.rule, name), getattr(rule, name)
        for at, index in reversed(list(enumerate(places))):
            if len(parts) > 1:
                changes: dict[str, Any] = {name: _except(parts, at)}
                where: dict[str, Any] = {name: _except(places, at)}
                smaller = replace(rule, rule=replace(rule.rule, **changes), **where)
                yield smaller, (*base, word, index), "entry"
            for less, path, text in _fewer(parts[at]):
                changed = (*parts[:at], less, *parts[at + 1 :])
                kind = "source" if name == "sources" else "operation"
                yield (
                    replace(rule, rule=replace(rule.rule, **{name: changed})),
                    (*base, word, index, kind, *path),
                    f"value `{text}`",
                )
    for at, index in enumerate(rule.conditions):
        for less, path, text in _fewer(rule.rule.conditions[at]):
            conditions = (*rule.rule.conditions[:at], less, *rule.rule.conditions[at + 1 :])
            yield (
                replace(rule, rule=replace(rule.rule, conditions=conditions)),
                (*base, "when", index, *path),
                f"value `{text}`",
            )


def _fewer(part: Any) -> Iterator[tuple[Any, Path, str]]:
    """A source, an operation or a condition with one value less, as long as it asks for something still."""
    for field in fields(part):
        values = getattr(part, field.name)
        if not isinstance(values, tuple):
            continue
        for at in reversed(range(len(values))):
            less = replace(part, **{field.name: _except(values, at)})
            wider = len(values) == 1 and not field.name.startswith("not_")
            says_nothing = all(not value for name, value in _lists(less))
            if not wider and not says_nothing:
                yield less, (_camel(field.name), at), values[at]


def _lists(part: Any) -> Iterator[tuple[str, tuple[str, ...]]]:
    return ((each.name, getattr(part, each.name)) for each in fields(part) if each.name != "key")


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


def _except(items: Sequence[Any], at: int) -> tuple[Any, ...]:
    return (*items[:at], *items[at + 1 :])
