"""Matchers, each against the expression that Istio or Envoy would run for it."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from time import perf_counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from authz.attributes import Issued, ListItem, Value
from authz.matcher import (
    Cidr,
    Exact,
    Exists,
    InList,
    IssuedTo,
    Matcher,
    Namespace,
    Port,
    Prefix,
    Present,
    ServiceAccount,
    SpiffeSuffix,
    Suffix,
    Template,
    TextMatcher,
    TrustDomainPattern,
    matches,
    namespaces_of,
)
from tests.unit.authz import strategies as some

law = settings(max_examples=600)
METACHARACTERS = ".^$*+?{}[]()|\\-"


def full(expression: str, text: str) -> bool:
    return re.fullmatch(expression, text) is not None


def expression_for(matcher: TextMatcher) -> str:
    match matcher:
        case Exact(value):
            return re.escape(value)
        case Prefix(value):
            return re.escape(value) + r"[\s\S]*"
        case Suffix(value):
            return r"[\s\S]*" + re.escape(value)
        case Present():
            return ".+"
        case Exists():
            return r"[\s\S]*"


@law
@given(some.text_matchers, some.texts)
def test_text_matches_as_the_expression_of_its_kind_does(matcher: TextMatcher, text: str) -> None:
    assert matches(matcher, text) == full(expression_for(matcher), text)


@law
@given(some.spiffe_suffixes, some.identities)
@example(SpiffeSuffix("//a"), "spiffe://a")
@example(SpiffeSuffix("\na"), "spiffe://b\na")
@example(SpiffeSuffix("a"), "spiffe://\na")
@example(SpiffeSuffix(""), "spiffe://")
def test_a_spiffe_suffix_matches_as_its_expression_does(matcher: SpiffeSuffix, text: str) -> None:
    assert matches(matcher, text) == full("spiffe://.*" + re.escape(matcher.value), text)


@law
@given(some.namespaces, some.identities)
@example(Namespace(("a\nb",)), "spiffe://td/ns/a\nb/sa/a")
@example(Namespace(("a",)), "spiffe://td\n/ns/a/sa/a")
@example(Namespace(("", "")), "/ns/a/")
@example(Namespace(("a", "a")), "/ns/a/")
@example(Namespace(("a", "\na", "a")), "/ns/ab\n/\naa/")
def test_a_namespace_matches_as_its_expression_does(matcher: Namespace, text: str) -> None:
    name = ".*".join(map(re.escape, matcher.pieces))
    assert matches(matcher, text) == full(f".*/ns/{name}/.*", text)


@law
@given(some.service_accounts, some.identities)
@example(ServiceAccount("a", "sa"), "spiffe://td/ns/a/sa/sa/sa/sa")
@example(ServiceAccount("a", "b"), "spiffe://x/ns/a//sa/b")
@example(ServiceAccount("a", "b"), "spiffe:///ns/a/sa/b")
@example(ServiceAccount("a", "b"), "spiffe://x/ns/a/ns/a/sa/b")
@example(ServiceAccount("a", "b"), "spiffe://x/ns/a/sa/b/sa/b\n")
def test_a_service_account_matches_as_its_expression_does(matcher: ServiceAccount, text: str) -> None:
    namespace, name = re.escape(matcher.namespace), re.escape(matcher.name)
    assert matches(matcher, text) == full(f"spiffe://.+/ns/{namespace}/(.+/|)sa/{name}(/.+)?", text)


@law
@given(some.trust_domains, some.identities)
@example(TrustDomainPattern("a", "b"), "spiffe://ab/")
@example(TrustDomainPattern("", "b"), "spiffe://a/b/")
def test_a_trust_domain_pattern_matches_as_its_expression_does(matcher: TrustDomainPattern, text: str) -> None:
    expression = f"spiffe://{re.escape(matcher.prefix)}[^/]*{re.escape(matcher.suffix)}/.*"
    assert matches(matcher, text) == full(expression, text)


CLASS = r"a-zA-Z0-9\-._~%!$&'()*+,;:@="


@law
@given(some.templates, some.paths)
def test_a_template_matches_as_its_expression_does(matcher: Template, text: str) -> None:
    expression = "".join(
        {"{*}": f"[{CLASS}]+", "{**}": f"[{CLASS}/]*"}.get(part, re.escape(part))
        for part in re.split(r"(\{\*\*?\})", matcher.value)
    )
    assert matches(matcher, text) == full(expression, text)


def test_a_segment_of_a_template_has_the_characters_measured_on_envoy() -> None:
    taken = {code for code in range(256) if matches(Template("/{*}"), f"/a{chr(code)}b")}
    assert taken == set(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~%!$&'()*+,;:@=")
    more = {code for code in range(256) if matches(Template("/{**}"), f"/a{chr(code)}b")}
    assert more == taken | set(b"/")


@law
@given(some.networks, some.addresses)
def test_a_network_holds_the_addresses_whose_first_bits_are_its_own(
    text: str, address: IPv4Address | IPv6Address
) -> None:
    network = ip_network(text, strict=False)
    shift = network.max_prefixlen - network.prefixlen
    first_bits = int(address) >> shift == int(network.network_address) >> shift
    assert matches(Cidr(network), address) == (network.version == address.version and first_bits)


def test_a_mapped_address_and_the_one_it_maps_never_meet() -> None:
    assert not matches(Cidr(ip_network("10.0.0.0/8")), ip_address("::ffff:10.1.2.3"))
    assert not matches(Cidr(ip_network("::ffff:0:0/96")), ip_address("10.1.2.3"))
    assert matches(Cidr(ip_network("::ffff:0:0/96")), ip_address("::ffff:10.1.2.3"))


@law
@given(some.matchers, some.values)
def test_matching_is_total_and_looks_at_one_kind_of_value(matcher: Matcher, value: Value) -> None:
    found = matches(matcher, value)
    assert isinstance(found, bool)
    kinds: dict[type, tuple[type, ...]] = {
        Cidr: (IPv4Address, IPv6Address),
        Port: (int,),
        IssuedTo: (Issued,),
        InList: (ListItem,),
    }
    assert not found or isinstance(value, kinds.get(type(matcher), (str,)))


def test_an_issuer_and_a_subject_must_both_match() -> None:
    both = IssuedTo(Exact("i"), Present())
    assert matches(both, Issued("i", "s"))
    assert not matches(both, Issued("i", ""))
    assert not matches(both, Issued("j", "s"))


@pytest.mark.parametrize("character", METACHARACTERS)
def test_a_metacharacter_is_itself_wherever_a_policy_writes_it(character: str) -> None:
    # What it would match, were it not quoted: another character in its place, none, or the one before it twice.
    for there in (character, "X", "", "a", "aX"):
        same = there == character
        found = {
            "account": matches(ServiceAccount("n", f"a{character}b"), f"spiffe://td/ns/n/sa/a{there}b"),
            "its namespace": matches(ServiceAccount(f"a{character}b", "s"), f"spiffe://td/ns/a{there}b/sa/s"),
            "namespace": matches(Namespace((f"a{character}b",)), f"spiffe://td/ns/a{there}b/sa/s"),
            "suffix": matches(SpiffeSuffix(f"/a{character}b"), f"spiffe://td/a{there}b"),
            "domain": matches(TrustDomainPattern(f"a{character}b", ""), f"spiffe://a{there}b/x"),
            "domain's end": matches(TrustDomainPattern("", f"a{character}b"), f"spiffe://a{there}b/x"),
            "template": matches(Template(f"/a{character}b/{{*}}"), f"/a{there}b/x"),
        }
        assert found == dict.fromkeys(found, same), there


@law
@given(some.names.filter(lambda name: "/" not in name and "\n" not in name), some.identities)
def test_the_namespaces_of_an_identity_are_those_that_one_name_matches(name: str, identity: str) -> None:
    found = namespaces_of(identity)
    assert (name in found) == matches(Namespace((name,)), identity)
    assert all("/" not in each for each in found)


@given(st.sampled_from(("", "a", "a.b")))
def test_every_namespace_that_is_found_is_matched(name: str) -> None:
    identity = f"spiffe://td/ns/{name}/ns/x/sa/y"
    assert namespaces_of(identity) == (name, "x")
    assert all(matches(Namespace((each,)), identity) for each in namespaces_of(identity))


def test_no_identity_however_long_and_odd_costs_more_than_it_is_worth() -> None:
    # A certificate holds some 16 kB. Where an expression could try every place with every other, this would take minutes.
    account = ServiceAccount("a", "b")
    odd = ("spiffe://x" + "/ns/a/x" * 1000 + "/sa/b/x" * 1000 + "\n", "spiffe://" + "/ns/a/sa/b/" * 1500 + "\n")
    namespace = Namespace(("a", "a", "a", "a", "a", "a", "c"))
    started = perf_counter()
    for identity in odd:
        assert not matches(account, identity)
        assert not matches(namespace, identity)
    assert perf_counter() - started < 10
