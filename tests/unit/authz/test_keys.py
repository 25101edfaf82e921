"""The registry: which key reads what, and which texts are keys."""

from dataclasses import fields
from ipaddress import ip_address

import pytest

from authz.attributes import Attributes, Issued, ListItem, Value
from authz.errors import MalformedKeyError, UnknownKeyError
from authz.keys import KEYS, OPERATION_FIELDS, SOURCE_FIELDS, Argument, Attribute, AttributeKey, Use, key_of, resolve
from authz.model import Operation, Source
from authz.values import Scope

SCOPE = Scope("shop", ("cluster.local",))


@pytest.mark.parametrize("entry", KEYS.values(), ids=lambda entry: entry.name)
def test_an_example_in_the_registry_is_a_value_of_its_attribute(entry: AttributeKey) -> None:
    assert entry.matchers(entry.example, SCOPE)
    assert entry.summary
    assert not entry.summary.endswith(".")


def test_every_field_of_a_source_and_of_an_operation_reads_an_attribute_and_so_does_its_negation() -> None:
    for model, reads in ((Source, SOURCE_FIELDS), (Operation, OPERATION_FIELDS)):
        assert {field.name for field in fields(model)} == {*reads, *(f"not_{name}" for name in reads)}
        assert all(attribute.key in KEYS for attribute in reads.values())


def test_an_attribute_that_no_key_names_has_a_field() -> None:
    unnamed = {key.name for key in KEYS.values() if key.use is Use.FIELD}
    assert unnamed == {"request.host", "request.method", "request.path"}
    assert unnamed < {attribute.key for attribute in OPERATION_FIELDS.values()}


@pytest.mark.parametrize(
    ("text", "attribute"),
    [
        ("source.ip", Attribute("source.ip")),
        ("request.headers[x-role]", Attribute("request.headers", ("x-role",))),
        ("request.headers[X-Role]", Attribute("request.headers", ("x-role",))),
        ("request.headers[:PATH]", Attribute("request.headers", (":path",))),
        ("request.headers[HOST]", Attribute("request.headers", (":authority",))),
        ("request.headers[\u212a]", Attribute("request.headers", ("\u212a",))),
        ("request.headers[a][b]", Attribute("request.headers", ("a][b",))),
        ("request.auth.claims[a]", Attribute("request.auth.claims", ("a",))),
        ("request.auth.claims[a][b][c]", Attribute("request.auth.claims", ("a", "b", "c"))),
        ("request.auth.claims[a.b/c:d@e]", Attribute("request.auth.claims", ("a.b/c:d@e",))),
        ("request.auth.claims[a[b]]", Attribute("request.auth.claims", ("a[b]",))),
        ("request.auth.claims[a]x[b]", Attribute("request.auth.claims", ("a]x[b",))),
        ("request.auth.claims[a]]", Attribute("request.auth.claims", ("a]",))),
        ("request.auth.claims[[a]", Attribute("request.auth.claims", ("[a",))),
        ("experimental.envoy.filters.a.b[c]", Attribute("experimental.envoy.filters.", ("envoy.filters.a.b", "c"))),
        ("experimental.envoy.filters.a[b][c]", Attribute("experimental.envoy.filters.", ("envoy.filters.a", "b][c"))),
        ("experimental.envoy.filters.a[[b]]", Attribute("experimental.envoy.filters.", ("envoy.filters.a", "[b]"))),
    ],
)
def test_a_key_names_an_attribute(text: str, attribute: Attribute) -> None:
    assert resolve(text) == attribute


@pytest.mark.parametrize(
    "text",
    [
        *("request.headers", "request.headers[", "request.headers[]", "request.headers[x", "request.headersfoo[x]"),
        *("request.headers[x]y", "request.headers.x", "request.auth.claims", "request.auth.claims[]"),
        *("request.auth.claims[a][]", "request.auth.claims[][a]", "request.auth.claims.a[b]"),
        *("experimental.envoy.filters.a", "experimental.envoy.filters.a[]", "experimental.envoy.filters.[x]"),
    ],
)
def test_a_key_that_lacks_its_name_in_brackets_is_malformed(text: str) -> None:
    assert key_of(text) is not None
    with pytest.raises(MalformedKeyError) as caught:
        resolve(text)
    assert caught.value.key == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "source", "source.principals", "source.principal ", "Source.principal", "source.principal[x]"),
        *("request.host", "request.method", "request.path", "destination.labels[version]", "destination.name"),
        *("destination.user", "destination.namespace", "experimental.envoy.filter.a[b]", "request.header[x]"),
    ],
)
def test_any_other_text_is_no_key(text: str) -> None:
    assert key_of(text) is None
    with pytest.raises(UnknownKeyError) as caught:
        resolve(text)
    assert caught.value.key == text


def test_what_is_absent_has_no_values() -> None:
    nothing = Attributes()
    for key in KEYS.values():
        arguments = {Argument.NONE: (), Argument.FILTER: ("envoy.filters.a", "b")}.get(key.argument, ("x",))
        assert Attribute(key.name, arguments).read(nothing) == ()


def test_an_empty_server_name_is_as_good_as_none() -> None:
    assert resolve("connection.sni").read(Attributes(sni="")) == ()


FACTS = Attributes(
    identities=("spiffe://td/ns/a/sa/b", "b.a.example"),
    source_ip=ip_address("10.0.0.1"),
    remote_ip=ip_address("::1"),
    destination_ip=ip_address("10.0.0.2"),
    destination_port=0,
    sni="sni.example",
    method="GET",
    path="/a?b#c",
    host="HOST.example:80",
    scheme="https",
    headers={"x-empty": ("",), "x-two": ("1", "2"), "x-none": ()},
    claims={
        "iss": "i",
        "sub": "",
        "aud": ["x", 1, None, True, ["y"], {"z": 1}, "w"],
        "azp": {"x": "y"},
        "deep": {"er": {"est": "v"}, "list": [{"er": "v"}]},
        "number": 7,
        "yes": True,
        "null": None,
        "float": 1.5,
    },
    metadata={"envoy.filters.a": {"text": "v", "list": ["v", 7, ["w"]], "number": 7, "map": {"v": "v"}}},
)


@pytest.mark.parametrize(
    ("attribute", "values"),
    [
        (SOURCE_FIELDS["principals"], ("spiffe://td/ns/a/sa/b", "b.a.example")),
        (SOURCE_FIELDS["namespaces"], ("spiffe://td/ns/a/sa/b", "b.a.example")),
        (SOURCE_FIELDS["ip_blocks"], (ip_address("10.0.0.1"),)),
        (SOURCE_FIELDS["remote_ip_blocks"], (ip_address("::1"),)),
        (resolve("destination.ip"), (ip_address("10.0.0.2"),)),
        (OPERATION_FIELDS["ports"], (0,)),
        (resolve("connection.sni"), ("sni.example",)),
        (OPERATION_FIELDS["methods"], ("GET",)),
        (OPERATION_FIELDS["paths"], ("/a",)),
        (OPERATION_FIELDS["hosts"], ("host.example:80",)),
        (resolve("request.headers[:path]"), ("/a?b#c",)),
        (resolve("request.headers[:method]"), ("GET",)),
        (resolve("request.headers[:authority]"), ("HOST.example:80",)),
        (resolve("request.headers[host]"), ("HOST.example:80",)),
        (resolve("request.headers[:scheme]"), ("https",)),
        (resolve("request.headers[X-Two]"), ("1", "2")),
        (resolve("request.headers[x-empty]"), ("",)),
        (resolve("request.headers[x-none]"), ()),
        (SOURCE_FIELDS["request_principals"], (Issued("i", ""),)),
        (resolve("request.auth.audiences"), ("x", "w")),
        (resolve("request.auth.presenter"), ()),
        (resolve("request.auth.claims[deep][er][est]"), ("v",)),
        (resolve("request.auth.claims[deep][er]"), ()),
        (resolve("request.auth.claims[deep][list][er]"), ()),
        (resolve("request.auth.claims[iss][x]"), ()),
        (resolve("request.auth.claims[number]"), ()),
        (resolve("request.auth.claims[yes]"), ()),
        (resolve("request.auth.claims[null]"), ()),
        (resolve("request.auth.claims[float]"), ()),
        (resolve("experimental.envoy.filters.a[text]"), ("v",)),
        (resolve("experimental.envoy.filters.a[list]"), (ListItem("v"),)),
        (resolve("experimental.envoy.filters.a[number]"), ()),
        (resolve("experimental.envoy.filters.a[map]"), ()),
        (resolve("experimental.envoy.filters.b[text]"), ()),
    ],
)
def test_an_attribute_reads_its_values_and_no_others(attribute: Attribute, values: tuple[Value, ...]) -> None:
    assert attribute.read(FACTS) == values


@pytest.mark.parametrize("claims", [{"iss": "i"}, {"sub": "s"}, {"iss": 1, "sub": "s"}, {"iss": "i", "sub": ["s"]}, {}])
def test_a_principal_of_a_token_takes_an_issuer_and_a_subject_that_are_text(claims: dict[str, object]) -> None:
    assert SOURCE_FIELDS["request_principals"].read(Attributes(claims=claims)) == ()


@pytest.mark.parametrize(
    ("path", "compared"),
    [
        ("/a", "/a"),
        ("/a?b?c", "/a"),
        ("/a#b?c", "/a"),
        ("/a?b#c", "/a"),
        ("?", ""),
        ("#", ""),
        ("", ""),
        ("//a?b", "//a"),
    ],
)
def test_a_path_is_cut_at_the_first_question_mark_or_hash(path: str, compared: str) -> None:
    assert OPERATION_FIELDS["paths"].read(Attributes(path=path)) == (compared,)
