"""Minimizing: policies without what a proof shows to change nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from authz.analysis.access import Guarding
from authz.attributes import Protocol
from authz.invariants import Assumed
from authz.model import Action, Policy, Rule
from authz.span import Path
from mesh.limits import MOST_MINIMIZED_RULES, refuse_too_many_rules
from mesh.proving.ground import Ground, Shared
from mesh.proving.subjects import alike, subjects
from mesh.snapshot import Snapshot

__all__ = ["Dropped", "Minimized", "minimize"]


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
        self._snapshot = snapshot
        groups = list(alike(snapshot, subjects(snapshot)))
        refuse_too_many_rules(
            ((group[0].name, guarding.policies) for guarding, group in groups), most=MOST_MINIMIZED_RULES
        )
        self._guardings = [guarding for guarding, _ in groups]
        self.dropped: list[Dropped] = []
        self.questions = 0

    def without(self, policy: Policy) -> Policy:
        """The policy without what it can do without, given that those before it are as they are by now."""
        if policy.action not in (Action.ALLOW, Action.DENY) or policy.dry_run:
            return policy
        before = [guarding for guarding in self._guardings if any(each is policy for each in guarding.policies)]
        if not before:
            return policy
        rules = [
            _Rule(
                rule,
                index,
                tuple(range(len(rule.sources))),
                tuple(range(len(rule.operations))),
                tuple(range(len(rule.conditions))),
            )
            for index, rule in enumerate(policy.rules)
        ]
        current = policy
        # Whole rules first, from the last on: of two that say the same the first stays.
        position = len(rules) - 1
        while position >= 0:
            trial = replace(current, rules=tuple(each.rule for at, each in enumerate(rules) if at != position))
            enough = trial.rules or current.action is Action.ALLOW
            if enough and self._same(before, policy, trial):
                self._drop(policy, ("spec", "rules", rules[position].index), "rule")
                del rules[position]
                current = trial
            position -= 1
        for position in range(len(rules)):
            current = self._within(before, policy, current, rules, position)
        if current is not policy:
            self._guardings = [_with(guarding, policy, current) for guarding in self._guardings]
        return current

    def _within(
        self, before: Sequence[Guarding], policy: Policy, current: Policy, rules: list[_Rule], position: int
    ) -> Policy:
        """As little as can be in one rule."""
        progress = True
        while progress:
            progress = False
            for smaller, path, what in _smaller(rules[position]):
                tried = [each.rule for each in rules]
                tried[position] = smaller.rule
                trial = replace(current, rules=tuple(tried))
                if self._same(before, policy, trial):
                    self._drop(policy, path, what)
                    rules[position], current, progress = smaller, trial, True
                    break
        return current

    def _drop(self, policy: Policy, path: Path, what: str) -> None:
        self.dropped.append(Dropped(policy.id, path, what))

    def _same(self, before: Sequence[Guarding], policy: Policy, trial: Policy) -> bool:
        for guarding in before:
            for protocol in Protocol:
                shared = Shared(
                    protocol,
                    normalization=self._snapshot.config.path_normalization,
                    issuers=guarding.issuers,
                    assumed=Assumed(),
                )
                ground = Ground(shared, _with(guarding, policy, trial), old=guarding)
                old = ground.old
                if old is None:
                    continue
                all_of = ground.space.circuit.all_of
                self.questions += 2
                both = (all_of((ground.new.allowed, -old.allowed)), all_of((-ground.new.allowed, old.allowed)))
                if any(ground.find(each) is not None for each in both):
                    return False
        return True


def _with(guarding: Guarding, policy: Policy, other: Policy) -> Guarding:
    return replace(guarding, policies=tuple(other if each is policy else each for each in guarding.policies))


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
