"""Tests of the tests: a tree with a planted fault must not pass for the reference.

Each fault is one that somebody could make in an hour of hurry. If the law stops noticing one, the generators have grown dull.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest

from authz import index, keys, predicates, tree
from authz.attributes import Attributes, Value
from authz.matcher import Cidr, Matcher, Prefix, Suffix
from authz.predicates import Part
from tests.laws.test_tree import check_agreement

Plant = Callable[[pytest.MonkeyPatch], None]


def drop_a_not(patch: pytest.MonkeyPatch) -> None:
    original = tree._Dimension.add
    patch.setattr(tree._Dimension, "add", lambda self, clause, lane: original(self, replace(clause, unwanted=()), lane))


def confuse_prefix_and_suffix(patch: pytest.MonkeyPatch) -> None:
    original = index._Groups.add

    def add(self: index._Groups, matcher: Matcher, lanes: int) -> None:
        original(self, Suffix(matcher.value) if isinstance(matcher, Prefix) else matcher, lanes)

    patch.setattr(index._Groups, "add", add)


def forget_absent_attributes(patch: pytest.MonkeyPatch) -> None:
    def lanes(self: tree._Matching, attributes: Attributes) -> int:
        found = self._all
        for step in self._steps:
            if values := step.read(attributes, step.argument):
                found &= step.free | step.wanted.lookup(values) if step.wanted else found
                found &= ~step.unwanted.lookup(values) if step.unwanted else found
        return found if self._grouped is None else found & self._grouped.lanes(attributes, self._all)

    patch.setattr(tree._Matching, "lanes", lanes)


def ignore_all_but_the_first_value(patch: pytest.MonkeyPatch) -> None:
    original = index.Index.lookup
    patch.setattr(index.Index, "lookup", lambda self, values: original(self, values[:1]))


def ignore_all_but_the_last_value(patch: pytest.MonkeyPatch) -> None:
    original = index.Index.lookup
    patch.setattr(index.Index, "lookup", lambda self, values: original(self, values[-1:]))


def try_the_rules_in_the_order_given(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(predicates, "rule_order", lambda policy, index: ("", ""))  # noqa: ARG005  # called by position


def widen_a_network_by_one_bit(patch: pytest.MonkeyPatch) -> None:
    original = index._Groups.add

    def add(self: index._Groups, matcher: Matcher, lanes: int) -> None:
        wide = isinstance(matcher, Cidr) and matcher.network.prefixlen > 0
        original(self, Cidr(matcher.network.supernet()) if wide and isinstance(matcher, Cidr) else matcher, lanes)

    patch.setattr(index._Groups, "add", add)


def let_a_spiffe_suffix_reach_into_the_scheme(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(index, "_spiffe_suffix", index._suffix)


def keep_the_query(patch: pytest.MonkeyPatch) -> None:
    entry = keys.KEYS["request.path"]
    whole = replace(entry, read=lambda attributes, _: () if attributes.path is None else (attributes.path,))
    patch.setattr(tree, "KEYS", {**keys.KEYS, "request.path": whole})


def compare_hosts_by_case(patch: pytest.MonkeyPatch) -> None:
    entry = keys.KEYS["request.host"]
    cased = replace(entry, read=lambda attributes, _: () if attributes.host is None else (attributes.host,))
    patch.setattr(tree, "KEYS", {**keys.KEYS, "request.host": cased})


def read_numbers_in_claims(patch: pytest.MonkeyPatch) -> None:
    entry = keys.KEYS["request.auth.claims"]

    def read(attributes: Attributes, argument: tuple[str, ...]) -> tuple[Value, ...]:
        value = (attributes.claims or {}).get(argument[0])
        return (str(value),) if isinstance(value, int) else entry.read(attributes, argument)

    patch.setattr(tree, "KEYS", {**keys.KEYS, "request.auth.claims": replace(entry, read=read)})


def let_one_source_of_many_stand_for_all_rules(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tree._Groups, "lanes", lambda self, attributes, every: every)  # noqa: ARG005  # a method


def merge_two_demands_on_one_attribute(patch: pytest.MonkeyPatch) -> None:
    original = tree._dimensions

    def dimensions(parts: list[Part]) -> list[tree._Dimension]:
        merged: dict[keys.Attribute, tree._Dimension] = {}
        for dimension in original(parts):
            into = merged.setdefault(dimension.attribute, tree._Dimension(dimension.attribute))
            into.demanding |= dimension.demanding
            for ours, theirs in ((into.wanted, dimension.wanted), (into.unwanted, dimension.unwanted)):
                for matcher, lanes in theirs.items():
                    ours[matcher] = ours.get(matcher, 0) | lanes
        return list(merged.values())

    patch.setattr(tree, "_dimensions", dimensions)


FAULTS: tuple[Plant, ...] = (
    drop_a_not,
    confuse_prefix_and_suffix,
    forget_absent_attributes,
    ignore_all_but_the_first_value,
    ignore_all_but_the_last_value,
    try_the_rules_in_the_order_given,
    widen_a_network_by_one_bit,
    let_a_spiffe_suffix_reach_into_the_scheme,
    keep_the_query,
    compare_hosts_by_case,
    read_numbers_in_claims,
    let_one_source_of_many_stand_for_all_rules,
    merge_two_demands_on_one_attribute,
)


@pytest.mark.parametrize("plant", FAULTS, ids=lambda plant: plant.__name__)
def test_the_law_notices(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)

    with pytest.raises(AssertionError):
        check_agreement_of_many()


def check_agreement_of_many() -> None:
    for seed in range(1000):
        check_agreement(seed)
