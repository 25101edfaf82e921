"""Rules that another one leaves nothing to do: shadowed, duplicate, and never reached behind a DENY rule."""

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from authz.attributes import Protocol
from authz.findings.codes import DUPLICATE_RULE, SHADOWED_RULE, UNREACHABLE_RULE
from authz.findings.finding import Finding
from authz.findings.implication import implies, subject_of
from authz.findings.scope import Scope, scope_of, wider_scopes
from authz.findings.wider import WiderIndex, handle
from authz.mesh_config import MeshConfig
from authz.model import Action, Policy
from authz.predicates import Clause, LoweredRule, Part, PredicateTable
from authz.span import Path

__all__ = ["find_redundant_rules"]

_PROTOCOLS = (Protocol.HTTP, Protocol.TCP)
# Rules that one is compared with. There are hardly ever more than a few that may be as wide.
_MOST = 64
_FEW = 16


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

    @property
    def any(self) -> LoweredRule:
        """What is checked on HTTP, or on TCP where that is all there is."""
        return next(each for each in self.compiled if each is not None)

    def within(self, other: "_Rule") -> bool:
        """Whether the other matches whatever this one does, on HTTP and on TCP."""
        return all(
            mine is None or (its is not None and implies(mine, its))
            for mine, its in zip(self.compiled, other.compiled, strict=True)
        )

    @property
    def name(self) -> str:
        return f"{self.policy.id}#{self.index}"

    def __str__(self) -> str:
        place = self.policy.span(*self.path)
        name = f"`{self.name}`"
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
                covered_by=other.name,
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
        # Places and what is read there have numbers, for looking up by themselves costs more than all the rest.
        self._numbers: dict[Hashable, int] = {}
        self._asking: WiderIndex[_Rule] = WiderIndex()
        self._asking_nothing: dict[Hashable, list[_Rule]] = {}
        used: Counter[_Handle] = Counter()
        for rule in rules:
            for clause in _clauses(rule.any):
                used.update(self._handles(rule, clause))
        for rule in rules:
            anchors = self._anchors(rule, used)
            if anchors is None:
                self._asking_nothing.setdefault((rule.stage, rule.scope), []).append(rule)
                continue
            for clause in anchors:
                number = self._number(rule, clause)
                for each in clause.wanted:
                    self._asking.add(number, each.matcher, rule)

    def as_wide(self, rule: _Rule, stage: Hashable) -> Iterator[_Rule]:
        """Rules of a stage that may match all that `rule` does, wherever it is in force; a few dozen at most."""
        return islice(self._as_wide(rule, stage), _MOST)

    def _as_wide(self, rule: _Rule, stage: Hashable) -> Iterator[_Rule]:
        seen: set[int] = set()
        # Of each alternative one is enough, for what is as wide takes all of them; and so is one value of each list.
        compiled = rule.any
        given: Part = (*compiled.sources[0], *compiled.operations[0], *compiled.conditions)
        asked = [(subject_of(clause.attribute), clause.wanted[0].matcher) for clause in given if clause.wanted]
        for scope in wider_scopes(rule.scope, self._root):
            place = (stage, scope)
            for subject, matcher in asked:
                if (number := self._numbers.get((place, subject))) is None:
                    continue
                for other in self._asking.asking_for_more(number, matcher):
                    if other.number not in seen:
                        seen.add(other.number)
                        yield other
            # What asks for nothing need not be asked for, and is looked at by all.
            yield from islice(self._asking_nothing.get(place, ()), _FEW)

    def _anchors(self, rule: _Rule, used: Counter["_Handle"]) -> Sequence[Clause] | None:
        """The clauses that a rule is found by, the ones that fewest ask: a narrower rule must ask for one of them, too.

        None where a rule need not ask for anything to be narrower.
        """

        def often(clause: Clause) -> int:
            return max(used[each] for each in self._handles(rule, clause))

        possible = [[clause] for clause in rule.any.conditions if clause.wanted]
        for half in (rule.any.sources, rule.any.operations):
            asking = [min((clause for clause in part if clause.wanted), key=often, default=None) for part in half]
            if None not in asking:
                possible.append([clause for clause in asking if clause is not None])
        return min(possible, key=lambda clauses: max(map(often, clauses)), default=None)

    def _handles(self, rule: _Rule, clause: Clause) -> Iterator["_Handle"]:
        number = self._number(rule, clause)
        return ((number, handle(each.matcher)) for each in clause.wanted)

    def _number(self, rule: _Rule, clause: Clause) -> int:
        place = ((rule.stage, rule.scope), subject_of(clause.attribute))
        return self._numbers.setdefault(place, len(self._numbers))


_Handle = tuple[int, tuple[object, ...]]


def _clauses(rule: LoweredRule) -> Iterator[Clause]:
    """What a rule asks for somewhere."""
    for part in (*rule.sources, *rule.operations, rule.conditions):
        yield from (clause for clause in part if clause.wanted)
