"""Shrinking: from a case on which the sides differ to the smallest one on which they still do."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from ipaddress import ip_address
from typing import Any, TypeVar

from authz.model import Condition, Operation, Policy, Rule, Source
from authz.request_authentication import JwtRule, RequestAuthentication
from tests.differential.cases import Caller, Case, Connection, Http, Mesh, Question, Tcp
from tests.differential.comparison import MAX_CASES, Both, Comparison
from tests.differential.generator import accepted
from tests.differential.vectors import Vector, text

__all__ = ["Compare", "Difference", "shrink"]

T = TypeVar("T")

_ROUNDS = 40

Compare = Callable[[Mesh, Sequence[Case]], list[Comparison]]


class Difference:
    """One question on which the sides differ, and the smallest case found so far on which they do."""

    def __init__(self, vector: Vector, both: Both) -> None:
        self.vector = vector
        self.both = both


def shrink(differences: Sequence[Difference], compare: Compare) -> None:
    """Make every difference as small as it gets. They may be of several meshes."""
    for mesh in dict.fromkeys(difference.vector.mesh for difference in differences):
        own = [difference for difference in differences if difference.vector.mesh == mesh]
        for _ in range(_ROUNDS):
            own = _round(mesh, own, compare)
            if not own:
                break


def _round(mesh: Mesh, differences: list[Difference], compare: Compare) -> list[Difference]:
    """Try what each of them may be reduced to, all at once; those that got smaller go on."""
    share = MAX_CASES // len(differences)
    tried = [(difference, case) for difference in differences for case in _smaller(difference.vector)[:share]]
    compared = compare(mesh, [case for _, case in tried])
    smaller: dict[int, Difference] = {}
    for (difference, case), comparison in zip(tried, compared, strict=True):
        both = comparison.results[0]
        if id(difference) not in smaller and both.kind == difference.both.kind and not both.agree:
            difference.vector, difference.both = Vector(mesh, case), both
            smaller[id(difference)] = difference
    return list(smaller.values())


def _smaller(vector: Vector) -> list[Case]:
    """What the case may be reduced to, the smallest first."""
    size = _size(vector)
    found = {text(Vector(vector.mesh, case)): case for case in _reductions(vector.case)}
    shorter = sorted((one for one in found.items() if len(one[0]) < size), key=lambda one: len(one[0]))
    return [case for _, case in shorter if accepted(case)]


def _size(vector: Vector) -> int:
    return len(text(vector))


def _reductions(case: Case) -> Iterator[Case]:
    for policies in _without_some(case.policies, _policies):
        yield replace(case, policies=policies)
    for authentications in _without_some(case.authentications, _authentications):
        yield replace(case, authentications=authentications)
    for question in _questions(case.questions[0]):
        yield replace(case, questions=(question,))


def _without_some(
    items: tuple[T, ...], reduced: Callable[[T], Iterator[T]] = lambda _: iter(())
) -> Iterator[tuple[T, ...]]:
    """Nothing at all, one of them alone, all but one, or all with one of them reduced."""
    if items:
        yield ()
    for number, item in enumerate(items):
        before, after = items[:number], items[number + 1 :]
        yield (item,)
        yield before + after
        for smaller in reduced(item):
            yield (*before, smaller, *after)
            yield (smaller,)


def _policies(policy: Policy) -> Iterator[Policy]:
    for rules in _without_some(policy.rules, _rules):
        yield replace(policy, rules=rules)
    yield replace(policy, dry_run=False)


def _authentications(authentication: RequestAuthentication) -> Iterator[RequestAuthentication]:
    for rules in _without_some(authentication.jwt_rules, _jwt_rules):
        yield replace(authentication, jwt_rules=rules)
    yield replace(authentication, created="")


def _jwt_rules(rule: JwtRule) -> Iterator[JwtRule]:
    default = JwtRule()
    fewer: dict[str, Any] = {}
    for field in fields(rule):
        value = getattr(rule, field.name)
        if field.name not in ("issuer", "jwks"):
            fewer = {field.name: getattr(default, field.name)}
            yield replace(rule, **fewer)
        if isinstance(value, tuple):
            for some in _without_some(value):
                fewer = {field.name: some}
                yield replace(rule, **fewer)


def _rules(rule: Rule) -> Iterator[Rule]:
    for sources in _without_some(rule.sources, _lists):
        yield replace(rule, sources=sources)
    for operations in _without_some(rule.operations, _lists):
        yield replace(rule, operations=operations)
    for conditions in _without_some(rule.conditions, _conditions):
        yield replace(rule, conditions=conditions)


def _conditions(condition: Condition) -> Iterator[Condition]:
    for values in _without_some(condition.values):
        yield replace(condition, values=values)
    for not_values in _without_some(condition.not_values):
        yield replace(condition, not_values=not_values)


Part = TypeVar("Part", Source, Operation)


def _lists(part: Part) -> Iterator[Part]:
    for field in fields(part):
        for fewer in _without_some(getattr(part, field.name)):
            yield replace(part, **{field.name: fewer})


def _questions(question: Question) -> Iterator[Question]:
    for connection in filter(_of_one_family, _connections(question.connection)):
        yield replace(question, connection=connection)
    if isinstance(question, Tcp):
        yield from _as_by_default(question)
        return
    yield from _as_by_default(question)
    for headers in _without_some(question.headers):
        yield replace(question, headers=headers)
    for channel in question.metadata:
        yield replace(question, metadata={name: value for name, value in question.metadata.items() if name != channel})
    path, mark, query = question.target.partition("?")
    if mark:
        yield replace(question, target=path)
        for pairs in _without_some(tuple(query.split("&"))):
            yield replace(question, target=f"{path}?{'&'.join(pairs)}")


def _connections(connection: Connection) -> Iterator[Connection]:
    yield from _as_by_default(connection)
    plain = Connection()
    yield replace(connection, peer=plain.peer, source=None, destination=plain.destination)
    if connection.caller is not None:
        for caller in _callers(connection.caller):
            yield replace(connection, caller=caller)


def _of_one_family(connection: Connection) -> bool:
    # The PROXY protocol can say nothing else, so the addresses change together.
    ends = connection.source or connection.peer, connection.destination
    return len({ip_address(end).version for end in ends}) == 1


def _callers(caller: Caller) -> Iterator[Caller]:
    yield from _as_by_default(caller)
    for field in fields(caller):
        for fewer in _without_some(getattr(caller, field.name)):
            yield replace(caller, **{field.name: fewer})


Defaulted = TypeVar("Defaulted", Http, Tcp, Connection, Caller)


def _as_by_default(whole: Defaulted) -> Iterator[Defaulted]:
    default = type(whole)()
    for field in fields(whole):
        yield replace(whole, **{field.name: getattr(default, field.name)})
