"""What a value in a policy means: each row of the tables of semantics 2.1 to 2.6."""

from ipaddress import ip_network

import pytest

from authz import values
from authz.errors import UnsupportedValueError
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
    TrustDomainPattern,
)
from authz.values import Scope

SCOPE = Scope("shop", ("cluster.local",))

TEXT = [
    ("*", Present()),
    ("*x", Suffix("x")),
    ("x*", Prefix("x")),
    ("x", Exact("x")),
    ("*a*", Suffix("a*")),
    ("**", Suffix("*")),
    ("a*b", Exact("a*b")),
    (" x ", Exact(" x ")),
    ("", Exact("")),
]


@pytest.mark.parametrize(("value", "matcher"), TEXT)
def test_text_has_the_four_kinds_and_looks_at_the_leading_star_first(value: str, matcher: Matcher) -> None:
    assert values.text(value, SCOPE) == (matcher,)
    assert values.path(value, SCOPE) == (matcher,)


@pytest.mark.parametrize(("value", "matcher"), TEXT)
def test_a_star_on_a_header_asks_only_whether_it_is_there(value: str, matcher: Matcher) -> None:
    expected = Exists() if value == "*" else matcher
    assert values.header(value, SCOPE) == (expected,)
    assert values.host(value, SCOPE) == (expected,)


def test_a_host_is_lowered_from_a_to_z_and_nothing_else() -> None:
    assert values.host("*.EXAMPLE.com:*", SCOPE) == (Suffix(".example.com:*"),)
    assert values.ascii_lower("AZ\u212a\u0130\u0131\u00c4\u017f@[") == "az\u212a\u0130\u0131\u00c4\u017f@["
    assert values.ascii_lower("AZaz09@[`{") == "azaz09@[`{"


@pytest.mark.parametrize(
    ("value", "matcher"),
    [
        ("td/ns/a/sa/b", Exact("spiffe://td/ns/a/sa/b")),
        ("td/ns/a/*", Prefix("spiffe://td/ns/a/")),
        ("*/sa/b", SpiffeSuffix("/sa/b")),
        ("*", Present()),
        ("**", SpiffeSuffix("*")),
        ("spiffe://td/x", Exact("spiffe://spiffe://td/x")),
    ],
)
def test_a_principal_is_an_identity_without_its_scheme(value: str, matcher: Matcher) -> None:
    assert values.principal(value, SCOPE) == (matcher,)


ALIASES = Scope("shop", ("new.td", "old.td", "eu-legacy"))


@pytest.mark.parametrize(
    ("value", "written_for"),
    [
        # Step 1: five parts, and no star for a trust domain.
        ("new.td/ns/a/*", ["new.td/ns/a/*"]),
        ("cluster.local/ns/a/sa/b/c", ["cluster.local/ns/a/sa/b/c"]),
        ("*/ns/a/sa/b", ["*/ns/a/sa/b"]),
        ("*", ["*"]),
        # Step 2: the mesh's own, as written or as a pattern in either direction.
        ("foreign.td/ns/a/sa/b", ["foreign.td/ns/a/sa/b"]),
        ("new.td/ns/a/sa/b", ["new.td/ns/a/sa/b", "old.td/ns/a/sa/b", "eu-legacy/ns/a/sa/b"]),
        ("cluster.local/ns/a/sa/*", ["new.td/ns/a/sa/*", "old.td/ns/a/sa/*", "eu-legacy/ns/a/sa/*"]),
        ("new*/ns/a/sa/b", ["new.td/ns/a/sa/b", "old.td/ns/a/sa/b", "eu-legacy/ns/a/sa/b"]),
        # Step 3: what a trust domain fits stays for that one.
        ("*-legacy/ns/a/sa/b", ["new.td/ns/a/sa/b", "old.td/ns/a/sa/b", "*-legacy/ns/a/sa/b"]),
        ("*.td/ns/a/sa/b", ["*.td/ns/a/sa/b", "eu-legacy/ns/a/sa/b"]),
    ],
)
def test_a_principal_of_this_mesh_is_one_in_each_of_its_trust_domains(value: str, written_for: list[str]) -> None:
    alone = Scope("shop", ())
    assert values.principal(value, ALIASES) == tuple(values.principal(each, alone)[0] for each in written_for)


@pytest.mark.parametrize(
    ("value", "domains", "written_for"),
    [
        ("eu-td/ns/a/sa/b", ("new", "*-td"), ["new/ns/a/sa/b", "*-td/ns/a/sa/b"]),
        ("td-eu/ns/a/sa/b", ("new", "td-*"), ["new/ns/a/sa/b", "td-*/ns/a/sa/b"]),
        ("any/ns/a/sa/b", ("new", "*"), ["new/ns/a/sa/b", "*/ns/a/sa/b"]),
        ("eu/ns/a/sa/b", ("new", "*-td"), ["eu/ns/a/sa/b"]),
        ("new/ns/a/sa/b", ("new", "new", "old"), ["new/ns/a/sa/b", "old/ns/a/sa/b"]),
    ],
)
def test_a_trust_domain_of_the_mesh_may_be_a_pattern(
    value: str, domains: tuple[str, ...], written_for: list[str]
) -> None:
    alone = Scope("shop", ())
    found = values.principal(value, Scope("shop", domains))
    assert found == tuple(values.principal(each, alone)[0] for each in written_for)


@pytest.mark.parametrize(
    ("value", "pieces"),
    [("a", ("a",)), ("a*", ("a", "")), ("*", ("", "")), ("a*b*c", ("a", "b", "c")), ("a.b", ("a.b",))],
)
def test_a_namespace_has_stars_anywhere(value: str, pieces: tuple[str, ...]) -> None:
    assert values.namespace(value, SCOPE) == (Namespace(pieces),)


def test_a_service_account_is_of_the_namespace_of_the_policy_or_of_its_own() -> None:
    assert values.service_account("web", SCOPE) == (ServiceAccount("shop", "web"),)
    assert values.service_account("ops/web", SCOPE) == (ServiceAccount("ops", "web"),)
    for value in ("", "/", "a/", "/a", "a/b/c"):
        with pytest.raises(UnsupportedValueError):
            values.service_account(value, SCOPE)


@pytest.mark.parametrize(
    ("value", "matcher"),
    [
        ("td", Prefix("spiffe://td/")),
        ("*", Prefix("spiffe://")),
        ("*.td", TrustDomainPattern("", ".td")),
        ("td*", TrustDomainPattern("td", "")),
        ("a*b*", TrustDomainPattern("a", "b*")),
    ],
)
def test_a_trust_domain_is_a_whole_one_or_has_one_star(value: str, matcher: Matcher) -> None:
    assert values.trust_domain(value, SCOPE) == (matcher,)


def test_a_trust_domain_of_the_mesh_stands_for_all_of_them_and_no_other_does() -> None:
    scope = Scope("shop", ("a", "b", "a"))
    both = (Prefix("spiffe://a/"), Prefix("spiffe://b/"))
    assert values.trust_domain("a", scope) == both
    assert values.trust_domain("b", scope) == both
    assert values.trust_domain("cluster.local", scope) == (Prefix("spiffe://cluster.local/"),)
    assert values.trust_domain("*", scope) == (Prefix("spiffe://"),)
    assert values.trust_domain("a*", scope) == (TrustDomainPattern("a", ""),)


@pytest.mark.parametrize(
    ("value", "network"),
    [
        ("10.1.2.3", "10.1.2.3/32"),
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:db8::1", "2001:db8::1/128"),
        ("2001:db8::1/32", "2001:db8::/32"),
        ("::ffff:10.1.2.3", "::ffff:a01:203/128"),
    ],
)
def test_a_range_is_an_address_or_a_prefix_whose_other_bits_do_not_count(value: str, network: str) -> None:
    assert values.cidr(value, SCOPE) == (Cidr(ip_network(network)),)


@pytest.mark.parametrize(
    "value",
    [
        *("", "x", "10.1.2", "10.1.2.3.4", "10.1.2.256", "010.1.2.3", "10.1.2.3 ", "10.1.2.3/", "/8", "10.0.0.0/33"),
        *("10.0.0.0/08", "10.0.0.0/+8", "10.0.0.0/-1", "10.0.0.0/255.0.0.0", "10.0.0.0/8/8", "10.0.0.0/\u0668"),
        *("::/129", "fe80::1%eth0", "fe80::%1/64", "1::2::3", "[::1]", "\u0661\u0660.0.0.1", "10.0.0.*", "1"),
    ],
)
def test_what_is_no_range_is_refused(value: str) -> None:
    with pytest.raises(UnsupportedValueError) as caught:
        values.cidr(value, SCOPE)
    assert caught.value.value == value


@pytest.mark.parametrize(("value", "number"), [("0", 0), ("80", 80), ("080", 80), ("65535", 65535)])
def test_a_port_is_a_number(value: str, number: int) -> None:
    assert values.port(value, SCOPE) == (Port(number),)


@pytest.mark.parametrize(
    "value", ["", "65536", "-1", "+80", "80-90", "*", "http", "8 0", "80\n", "\u0668\u0660", "9" * 5000]
)
def test_what_is_no_port_is_refused(value: str) -> None:
    with pytest.raises(UnsupportedValueError):
        values.port(value, SCOPE)


@pytest.mark.parametrize(
    "value", ["/{*}", "/{**}", "/a/{*}/b", "/a/{**}/b", "/{*}/{*}/{**}", "/a/{*}/", "/a-._~%!$&'()+,;:@=/{*}"]
)
def test_a_path_with_an_operator_is_a_template(value: str) -> None:
    assert values.path(value, SCOPE) == (Template(value),)


@pytest.mark.parametrize(
    "value",
    [
        *("a/{*}", "{*}", "/a{*}", "/{*}a", "/a//{*}", "/{*}//", "/{**}/{*}", "/{**}/{**}", "/a/{*}/b*", "*/{*}"),
        *("/{a}/{*}", "/{*}/{", "/{*}}", "/{***}/{*}", "/a?b/{*}", "/é/{*}", "/{*}\n", "/a b/{*}", "/{*}/{a=*}"),
    ],
)
def test_a_template_that_envoy_or_istio_would_refuse_is_refused(value: str) -> None:
    with pytest.raises(UnsupportedValueError):
        values.path(value, SCOPE)


@pytest.mark.parametrize(
    ("value", "issuer", "subject"),
    [
        ("*", Present(), Present()),
        ("*/sub", Present(), Exact("sub")),
        ("*/*", Present(), Exact("*")),
        ("*/sub*", Present(), Exact("sub*")),
        ("*iss/sub", Suffix("iss"), Exact("sub")),
        ("*a/b/sub", Suffix("a/b"), Exact("sub")),
        ("*/", Present(), Exact("")),
        ("*sub", Present(), Suffix("sub")),
        ("**", Present(), Suffix("*")),
        ("iss/*", Exact("iss"), Present()),
        ("iss//*", Exact("iss/"), Present()),
        ("iss/sub*", Exact("iss"), Prefix("sub")),
        ("iss*", Prefix("iss"), Present()),
        ("iss/sub", Exact("iss"), Exact("sub")),
        ("a/b/c", Exact("a/b"), Exact("c")),
        ("iss/", Exact("iss"), Exact("")),
        ("/sub", Exact(""), Exact("sub")),
        ("iss", Exact("iss"), Exact("")),
        ("i*s/sub", Exact("i*s"), Exact("sub")),
    ],
)
def test_a_request_principal_is_split_at_its_last_slash(value: str, issuer: Matcher, subject: Matcher) -> None:
    assert values.request_principal(value, SCOPE) == (IssuedTo(issuer, subject),)  # type: ignore[arg-type]  # rows are text


@pytest.mark.parametrize(
    ("value", "matcher"),
    [
        ("v", Exact("v")),
        ("*", Present()),
        ("[v]", InList(Exact("v"))),
        ("[*]", InList(Present())),
        ("[v*]", InList(Prefix("v"))),
        ("[*v]", InList(Suffix("v"))),
        ("[[v]]", InList(Exact("v"))),
        ("[]", InList(Exact(""))),
        ("[a[b]", InList(Exact("a[b"))),
        ("[v", Exact("[v")),
        ("v]", Exact("v]")),
        ("][", Exact("][")),
    ],
)
def test_metadata_in_brackets_is_an_element_of_a_list(value: str, matcher: Matcher) -> None:
    assert values.metadata(value, SCOPE) == (matcher,)
