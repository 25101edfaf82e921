"""Rules as conjunctions of clauses over interned predicates: the one compiled form.

Deciding, explaining, counting coverage, drawing and proving all read it. What an action does with a part that cannot be
expressed (semantics 0.5) has happened by then: a lowered rule says all that the proxy of that protocol will check.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter

from authz.attributes import Protocol
from authz.decision import Match, rule_order
from authz.errors import MalformedKeyError, UnknownKeyError, UnsupportedValueError
from authz.keys import OPERATION_FIELDS, SOURCE_FIELDS, Attribute, resolve
from authz.matcher import Matcher
from authz.model import Action, Condition, Operation, Policy, Rule, Source
from authz.values import Scope

__all__ = ["Clause", "LoweredRule", "Part", "Predicate", "PredicateTable"]


@dataclass(frozen=True, slots=True)
class Predicate:
    """One test of one attribute: whether any of its values matches."""

    attribute: Attribute
    matcher: Matcher


@dataclass(frozen=True, slots=True)
class Clause:
    """Any of `wanted` holds, and none of `unwanted`; no `wanted` asks for nothing. All test the same attribute."""

    attribute: Attribute
    wanted: tuple[Predicate, ...]
    unwanted: tuple[Predicate, ...]


Part = tuple[Clause, ...]
"""Clauses that must all hold; the empty part always does."""


@dataclass(frozen=True, slots=True)
class LoweredRule:
    """One of `sources`, one of `operations` and the whole of `conditions` must hold. Neither tuple is ever empty.

    Of the rules of one action that match, the one with the least `order` is reported.
    """

    order: tuple[str, str]
    match: Match
    sources: tuple[Part, ...]
    operations: tuple[Part, ...]
    conditions: Part


class PredicateTable:
    """Lowers rules, and keeps every distinct predicate once."""

    def __init__(self, *, trust_domains: tuple[str, ...]) -> None:
        self._trust_domains = trust_domains
        self._predicates: dict[Predicate, Predicate] = {}

    def __iter__(self) -> Iterator[Predicate]:
        return iter(self._predicates)

    def __len__(self) -> int:
        return len(self._predicates)

    def lower(self, policy: Policy, protocol: Protocol) -> list[LoweredRule]:
        """The rules of `policy` as a proxy checks them for `protocol`; those that it drops are left out."""
        lowering = _Lowering(policy.action, protocol, Scope(policy.namespace, self._trust_domains), self._predicates)
        lowered = []
        for index, rule in enumerate(policy.rules):
            try:
                lowered.append(_lowered(rule, policy, index, lowering))
            except (UnknownKeyError, _DroppedError):
                continue
        return lowered


def _lowered(rule: Rule, policy: Policy, index: int, lowering: "_Lowering") -> LoweredRule:
    return LoweredRule(
        order=rule_order(policy, index),
        match=Match(policy.id, index),
        sources=tuple(lowering.fields(source, _SOURCE) for source in rule.sources) or ((),),
        operations=tuple(lowering.fields(operation, _OPERATION) for operation in rule.operations) or ((),),
        conditions=tuple(lowering.conditions(rule.conditions)),
    )


_Fields = tuple[tuple[Attribute, Callable[[object], tuple[tuple[str, ...], tuple[str, ...]]]], ...]


def _both(fields: Mapping[str, Attribute]) -> _Fields:
    """Each attribute with what reads its two lists, for most are empty and nothing else of them is worth a look."""
    return tuple((attribute, attrgetter(name, f"not_{name}")) for name, attribute in fields.items())


_SOURCE = _both(SOURCE_FIELDS)
_OPERATION = _both(OPERATION_FIELDS)


class _DroppedError(Exception):
    """The action drops a rule for a part that cannot be expressed."""


@dataclass(frozen=True, slots=True)
class _Lowering:
    action: Action
    protocol: Protocol
    scope: Scope
    predicates: dict[Predicate, Predicate]

    def fields(self, part: Source | Operation, fields: _Fields) -> Part:
        clauses = []
        for attribute, lists in fields:
            values, not_values = lists(part)
            if (values or not_values) and (clause := self.clause(attribute, values, not_values)) is not None:
                clauses.append(clause)
        return tuple(clauses)

    def conditions(self, conditions: Iterable[Condition]) -> Iterable[Clause]:
        for condition in conditions:
            try:
                attribute = resolve(condition.key)
            except MalformedKeyError as error:
                if self.action is Action.ALLOW:
                    raise _DroppedError from error
                continue
            clause = self.clause(attribute, condition.values, condition.not_values)
            if clause is not None:
                yield clause

    def clause(self, attribute: Attribute, values: tuple[str, ...], not_values: tuple[str, ...]) -> Clause | None:
        if not values and not not_values:
            return None
        wanted = self.meaning(attribute, values)
        unwanted = self.meaning(attribute, not_values)
        return Clause(attribute, wanted, unwanted) if wanted or unwanted else None

    def meaning(self, attribute: Attribute, values: tuple[str, ...]) -> tuple[Predicate, ...]:
        expressible = not (attribute.http_only and self.protocol is Protocol.TCP)
        if values and not expressible and self.action is Action.ALLOW:
            raise _DroppedError
        found: dict[Predicate, None] = {}
        for value in values if expressible else ():
            try:
                matchers = attribute.matchers(value, self.scope)
            except UnsupportedValueError as error:
                if self.action is Action.ALLOW:
                    raise _DroppedError from error
                continue
            for matcher in matchers:
                predicate = Predicate(attribute, matcher)
                found[self.predicates.setdefault(predicate, predicate)] = None
        return tuple(found)
