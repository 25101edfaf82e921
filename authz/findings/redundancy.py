"""Rules that another one leaves nothing to do: shadowed, duplicate, and never reached behind a DENY rule."""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from authz.attributes import Protocol
from authz.findings.codes import DUPLICATE_RULE, SHADOWED_RULE, UNREACHABLE_RULE
from authz.findings.finding import Finding
from authz.findings.implication import implies, subject_of
from authz.findings.scope import Scope, scope_of, wider_scopes
from authz.findings.wider import WiderIndex, handle
from authz.keys import Attribute
from authz.matcher import Matcher
from authz.mesh_config import MeshConfig
from authz.model import Action, Policy
from authz.predicates import Clause, LoweredRule, Part, Predicate, PredicateTable
from authz.span import Path

__all__ = ["find_redundant_rules"]

_PROTOCOLS = (Protocol.HTTP, Protocol.TCP)
# Rules that one is compared with. There are hardly ever more than a few that may be as wide.
_MOST = 64


def find_redundant_rules(policies: Sequence[Policy], config: MeshConfig) -> Iterator[Finding]:
    """What another rule does already, or undoes, wherever the rule is in force.

    The time it takes grows with the number of rules, not with its square: of those that may be as wide as one, no more than a
    few dozen are looked at.
    """
    rules = list(_lowered(policies, config))
    index = _Index(rules, config.root_namespace)
    for rule in rules:
        yield from _about(rule, index)


@dataclass(frozen=True, slots=True, eq=False)
class _Rule:
    """A rule as proxies check it, for each protocol; none where they drop it."""

    number: int
    policy: Policy
    index: int
    scope: Scope
    compiled: tuple[LoweredRule | None, ...]

    @property
    def stage(self) -> Hashable:
        """What it has in common with those beside which it is tried."""
        return self.policy.action, self.policy.dry_run, self.policy.provider

    @property
    def path(self) -> Path:
        return "spec", "rules", self.index

    def within(self, other: "_Rule") -> bool:
        """Whether the other matches whatever this one does, on HTTP and on TCP."""
        return all(
            mine is None or (its is not None and implies(mine, its))
            for mine, its in zip(self.compiled, other.compiled, strict=True)
        )

    def __str__(self) -> str:
        place = self.policy.span(*self.path)
        name = f"`{self.policy.id}#{self.index}`"
        return name if place is None else f"{name} ({place})"


def _lowered(policies: Sequence[Policy], config: MeshConfig) -> Iterator[_Rule]:
    table = PredicateTable(trust_domains=config.trust_domains)
    number = 0
    for policy in policies:
        compiled: list[Mapping[int, LoweredRule]] = [
            {lowered.match.rule: lowered for lowered in table.lower(policy, protocol)} for protocol in _PROTOCOLS
        ]
        scope = scope_of(policy)
        for index in range(len(policy.rules)):
            each = tuple(of.get(index) for of in compiled)
            # What every proxy drops matches nothing, and is another finding.
            if any(lowered is not None for lowered in each):
                yield _Rule(number, policy, index, scope, each)
                number += 1


def _about(rule: _Rule, index: "_Index") -> Iterator[Finding]:
    policy = rule.policy
    for other in index.as_wide(rule, rule.stage):
        if other is rule or not rule.within(other):
            continue
        if other.scope != rule.scope or not other.within(rule):
            does = _DOES[policy.action]
            yield Finding(
                code=SHADOWED_RULE,
                policy=policy,
                path=rule.path,
                message=f"whatever this rule matches, {other} {does}, too",
                help="remove this rule, or narrow the other one",
            )
            return
        # Of two that say the same, the first stays.
        if other.number < rule.number:
            yield Finding(
                code=DUPLICATE_RULE,
                policy=policy,
                path=rule.path,
                message=f"this rule says what {other} says",
                help="remove one of them",
            )
            return
    if policy.action is not Action.ALLOW or policy.dry_run:
        return
    for other in index.as_wide(rule, _DENYING):
        if rule.within(other):
            yield Finding(
                code=UNREACHABLE_RULE,
                policy=policy,
                path=rule.path,
                message=f"whatever this rule matches, {other} denies, so it never allows anything",
                help="remove this rule, or narrow the other one: a DENY rule wins over every ALLOW rule",
            )
            return


_DENYING = (Action.DENY, False, None)
_DOES = {Action.ALLOW: "allows", Action.DENY: "denies", Action.AUDIT: "audits", Action.CUSTOM: "hands on"}


class _Index:
    """Rules by what they ask for, where they are in force."""

    def __init__(self, rules: Sequence[_Rule], root_namespace: str) -> None:
        self._root = root_namespace
        self._asking: WiderIndex[_Rule] = WiderIndex()
        self._asking_nothing: dict[Hashable, list[_Rule]] = {}
        used: Counter[Hashable] = Counter()
        anchors = [(rule, (rule.stage, rule.scope), list(_anchors(rule))) for rule in rules]
        for _, place, possible in anchors:
            used.update((place, subject, handle(each.matcher)) for anchor in possible for subject, each in anchor)
        for rule, place, possible in anchors:
            if not possible:
                self._asking_nothing.setdefault(place, []).append(rule)
                continue
            # By what fewest ask for, so that few are found.
            rarest = min(
                possible,
                key=lambda anchor: max(
                    used[place, subject, handle(each.matcher)] for subject, each in anchor
                ),  # used at once
            )
            for subject, each in rarest:
                self._asking.add((place, subject), each.matcher, rule)

    def as_wide(self, rule: _Rule, stage: Hashable) -> Iterator[_Rule]:
        """Rules of a stage that may match all that `rule` does, wherever it is in force; a few dozen at most."""
        return islice(self._as_wide(rule, stage), _MOST)

    def _as_wide(self, rule: _Rule, stage: Hashable) -> Iterator[_Rule]:
        seen: set[int] = set()
        asked = list(_asked(rule))
        for scope in wider_scopes(rule.scope, self._root):
            place = (stage, scope)
            candidates: Iterable[_Rule] = self._asking_nothing.get(place, ())
            for subject, matcher in asked:
                for other in self._asking.asking_for_more((place, subject), matcher):
                    if other.number not in seen:
                        seen.add(other.number)
                        yield other
            yield from candidates


_Anchor = list[tuple[Attribute, Predicate]]


def _anchors(rule: _Rule) -> Iterator[_Anchor]:
    """What a narrower rule must ask for, too, one thing or another; each is enough to be found by."""
    compiled = next(each for each in rule.compiled if each is not None)
    for clause in compiled.conditions:
        if clause.wanted:
            yield _predicates(clause)
    for half in (compiled.sources, compiled.operations):
        asking = [next((clause for clause in part if clause.wanted), None) for part in half]
        if None not in asking:
            yield [each for clause in asking if clause is not None for each in _predicates(clause)]


def _predicates(clause: Clause) -> _Anchor:
    return [(subject_of(clause.attribute), each) for each in clause.wanted]


def _asked(rule: _Rule) -> Iterator[tuple[Attribute, Matcher]]:
    """One thing of everything that the rule asks for."""
    compiled = next(each for each in rule.compiled if each is not None)
    part: Part = (*compiled.sources[0], *compiled.operations[0], *compiled.conditions)
    for clause in part:
        if clause.wanted:
            yield subject_of(clause.attribute), clause.wanted[0].matcher
