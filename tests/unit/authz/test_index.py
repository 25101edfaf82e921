"""The ladder, the index and the probes, against trying one matcher after the other."""

from operator import add
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authz.attributes import Value
from authz.index import Index, nested_deeper
from authz.keys import KEYS, Argument
from authz.ladder import cut_head, cut_tail, ends, ladder, starts
from authz.matcher import (
    Cidr,
    Matcher,
    Namespace,
    Prefix,
    ServiceAccount,
    Suffix,
    Template,
    TrustDomainPattern,
    matches,
)
from authz.values import Scope, cidr
from tests.laws.world import random_attributes
from tests.unit.authz import strategies as some

law = settings(max_examples=600, deadline=None)
prefixes = st.text(alphabet="ab/*", min_size=1, max_size=6)


@law
@given(st.lists(prefixes, max_size=12, unique=True), prefixes | st.just(""))
def test_a_ladder_finds_every_prefix_of_a_text_and_no_other(keys: list[str], text: str) -> None:
    rung = ladder({key: (key,) for key in keys}, cut=cut_head, within=add)
    assert sorted(starts(rung, text)) == sorted(key for key in keys if text.startswith(key))


@law
@given(st.lists(prefixes, max_size=12, unique=True), prefixes | st.just(""))
def test_a_ladder_of_reversed_keys_finds_every_suffix(keys: list[str], text: str) -> None:
    rung = ladder({key[::-1]: (key,) for key in keys}, cut=cut_tail, within=add)
    assert sorted(ends(rung, text)) == sorted(key for key in keys if text.endswith(key))


def test_what_lies_within_another_comes_before_it() -> None:
    rung = ladder({key: (key,) for key in ("a", "ab", "abc", "abcd")}, cut=cut_head, within=add)
    assert starts(rung, "abcx") == ("abc", "ab", "a")


def test_prefixes_of_each_other_may_be_ten_thousand_deep() -> None:
    depth = 10_000
    rung = ladder({"a" * length: (length,) for length in range(1, depth + 1)}, cut=cut_head, within=lambda own, _: own)
    assert starts(rung, "a" * (depth + 1)) == (depth,)
    assert starts(rung, "a" * 777 + "b") == (777,)
    assert starts(rung, "b") == ()


def looks(keys: list[str], text: str) -> int:
    """How many lengths are tried for a text."""
    tried = 0
    rung = ladder({key: (key,) for key in keys}, cut=cut_head, within=add)
    while rung is not None:
        length, table, rung = rung
        tried += 1
        if (entry := table.get(text[:length])) is not None:
            _, rung = entry
    return tried


def test_the_looks_grow_as_the_logarithm_of_the_prefixes_that_lie_within_each_other() -> None:
    assert looks(["a" * length for length in range(1, 10_001)], "a" * 10_000) <= 15


def test_a_text_of_no_family_takes_one_look_whatever_the_prefixes() -> None:
    assert looks([f"/v1/things{number}/" for number in range(10_000)], "/v2/things1/") == 1


@law
@given(st.lists(some.matchers, max_size=8, unique=True), st.lists(some.values, max_size=3))
def test_an_index_finds_what_trying_each_matcher_finds(matchers: list[Matcher], values: list[Value]) -> None:
    expected = {matcher for matcher in matchers if any(matches(matcher, value) for value in values)}
    found = Index({matcher: (matcher,) for matcher in matchers}).find(tuple(values))
    assert set(found) == expected
    assert len(found) == len(expected)


identities = st.lists(some.namespaces | some.service_accounts | some.trust_domains, max_size=12, unique=True)


@law
@given(identities, some.identities)
def test_an_index_of_identities_finds_what_trying_finds(matchers: list[Matcher], identity: str) -> None:
    found = Index({matcher: (matcher,) for matcher in matchers}).find((identity,))
    assert set(found) == {matcher for matcher in matchers if matches(matcher, identity)}


segments = st.lists(st.sampled_from(("a", "b", "{*}", "")), min_size=1, max_size=4)
shaped = st.builds(
    lambda head, tail: Template("/" + "/".join(head + tail)),
    segments,
    st.just([]) | st.lists(st.sampled_from(("a", "b", "")), max_size=2).map(lambda rest: ["{**}", *rest]),
)


@law
@given(st.lists(shaped, max_size=12, unique=True), some.paths | segments.map(lambda parts: "/" + "/".join(parts)))
def test_an_index_of_templates_finds_what_trying_finds(templates: list[Template], path: str) -> None:
    found = Index({template: (template,) for template in templates}).find((path,))
    assert set(found) == {template for template in templates if matches(template, path)}


@law
@given(st.lists(some.matchers, max_size=8, unique=True), some.values)
def test_sets_of_bits_are_joined_where_prefixes_lie_within_each_other(matchers: list[Matcher], value: Value) -> None:
    bits = {matcher: (1 << number,) for number, matcher in enumerate(matchers)}
    found = 0
    for held in Index(bits, within=lambda inner, outer: (inner[0] | outer[0],)).find((value,)):
        found |= held
    assert found == sum(bit for matcher, (bit,) in bits.items() if matches(matcher, value))


@pytest.mark.parametrize(
    ("matcher", "value"),
    [
        (Namespace(("a\nb",)), "spiffe://td/ns/a\nb/sa/c"),
        (Namespace(("ns",)), "spiffe://td/ns/ns/sa/c"),
        (Namespace(("sa",)), "spiffe://td/ns/ns/sa/c"),
        (Namespace(("a", "")), "spiffe://td/ns/b/ns/ab/c"),
        (Namespace(("", "b")), "spiffe://td/ns/a/ab/c"),
        (ServiceAccount("a", "b"), "spiffe://td/region/ns/a/team/x/sa/b/1"),
        (ServiceAccount("ns", "sa"), "spiffe://td/ns/ns/sa/sa"),
        (TrustDomainPattern("ab", "b"), "spiffe://ab/x"),
        (TrustDomainPattern("ab", "b"), "spiffe://abb/x"),
        (TrustDomainPattern("a", ""), "spiffe://a\nb/x"),
        (TrustDomainPattern("a", ""), "spiffe://a/x\n"),
        (TrustDomainPattern("a", ""), "spiffe://a"),
        (TrustDomainPattern("", "b"), "spiffe://ab/"),
        (Template("/{*}"), "/a"),
        (Template("/{**}"), "/"),
        (Template("/a/{**}/b/"), "/a//b/"),
    ],
)
def test_an_index_finds_the_odd_ones(matcher: Matcher, value: str) -> None:
    if matches(matcher, value):
        assert list(Index({matcher: (1,)}).find((value,))) == [1]
    else:
        assert list(Index({matcher: (1,)}).find((value,))) == []


def test_much_is_found_as_a_set() -> None:
    index = Index({Prefix(f"{number}"): (number,) for number in range(10)})
    assert index.find(tuple("0123456789")) == set(range(10))


def test_what_lies_within_many_is_told_apart_in_every_kind_of_nest() -> None:
    networks: list[Matcher] = [cidr(f"10.0.0.0/{length}", Scope("", ()))[0] for length in range(8, 33)]
    nests: list[list[Matcher]] = [
        [Prefix("a" * length) for length in range(1, 25)],
        [Suffix("a" * length) for length in range(1, 25)],
        [Namespace(("a" * length, "")) for length in range(1, 25)],
        [Namespace(("", "a" * length)) for length in range(1, 25)],
        networks,
    ]
    for nest in nests:
        assert nested_deeper(nest, 10) == frozenset(nest[10:])
    assert nested_deeper([one for nest in nests for one in nest], 10) == {one for nest in nests for one in nest[10:]}
    assert nested_deeper([Prefix(f"{number:03}") for number in range(100)], 1) == frozenset()
    assert all(isinstance(one, Cidr) for one in networks)


@law
@given(st.integers(0, 2**32))
def test_an_attribute_is_absent_under_any_name_that_a_request_does_not_have(seed: int) -> None:
    attributes = random_attributes(Random(seed))
    rest = {Argument.NAME: ((),), Argument.PATH: ((), ("roles",)), Argument.FILTER: (("[x]",), ("db",))}
    for key in KEYS.values():
        assert (key.names is None) == (key.argument is Argument.NONE)
        if key.names is not None:
            for name in {"x-role", "x-other", "groups", "realm", "other", "envoy.filters.a"} - set(
                key.names(attributes)
            ):
                assert all(key.read(attributes, (name, *more)) == () for more in rest[key.argument])
