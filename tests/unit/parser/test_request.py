"""Request documents: each fact where it belongs, and an error for what cannot be one."""

from collections.abc import Callable
from copy import deepcopy
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authz.attributes import Attributes, Protocol
from authz.values import ascii_lower
from authz.workload import ServiceRef
from parser.request import Destination, RequestDocument, RequestError, _read_usual, parse_request, read_any

FULL: dict[str, Any] = {
    "workload": "shop/api",
    "destination": {"ip": "10.0.0.9", "port": 8080, "principal": "spiffe://td/ns/shop/sa/api"},
    "source": {"principal": "spiffe://td/ns/shop/sa/web", "ip": "10.0.0.1", "remoteIp": "198.51.100.7"},
    "connection": {"protocol": "http", "sni": "api.example"},
    "request": {
        "method": "GET",
        "path": "/items?page=2",
        "host": "API.example:8080",
        "scheme": "https",
        "headers": {"X-Role": ["a", "b"], "x-role": "c", "x-empty": "", "x-none": []},
    },
    "jwt": {"claims": {"iss": "i", "scope": "a b", "n": 7}},
}


def test_every_fact_is_read() -> None:
    assert parse_request(FULL) == RequestDocument(
        destination=Destination(workload="shop/api", principal="spiffe://td/ns/shop/sa/api", address="10.0.0.9"),
        attributes=Attributes(
            protocol=Protocol.HTTP,
            identities=("spiffe://td/ns/shop/sa/web",),
            source_ip=ip_address("10.0.0.1"),
            remote_ip=ip_address("198.51.100.7"),
            destination_ip=ip_address("10.0.0.9"),
            destination_port=8080,
            sni="api.example",
            method="GET",
            path="/items?page=2",
            host="API.example:8080",
            scheme="https",
            headers={"x-role": ("a", "b", "c"), "x-empty": ("",), "x-none": ()},
            claims={"iss": "i", "scope": "a b", "n": 7},
        ),
    )


def test_what_is_left_out_is_absent() -> None:
    document = parse_request({"workload": "shop/api", "request": "GET /items?a=b c"})
    assert document.destination == Destination(workload="shop/api")
    assert document.attributes == Attributes(method="GET", path="/items?a=b c")


def test_a_fact_that_is_nothing_is_left_out() -> None:
    nothing = {"source": None, "destination": {"ip": None, "port": None}, "connection": {"sni": None}, "jwt": None}
    plain = {"workload": "a/b", "request": {"method": "GET", "path": "/"}}
    assert parse_request({**plain, **nothing}) == parse_request(plain)


def test_without_a_proxy_the_client_is_the_peer() -> None:
    document = parse_request({"workload": "a/b", "source": {"ip": "::1"}, "request": "GET /"})
    assert document.attributes.remote_ip == ip_address("::1")


def test_a_connection_has_no_request() -> None:
    document = parse_request({"workload": "a/b", "connection": {"protocol": "tcp", "sni": ""}})
    assert document.attributes == Attributes(protocol=Protocol.TCP, sni="")


@pytest.mark.parametrize(
    "destination",
    [
        {"namespace": "shop"},
        {"namespace": "shop", "labels": {"app": "api"}},
        {"principal": "spiffe://td/x"},
        {"ip": "2001:DB8::0001"},
    ],
)
def test_a_destination_is_spelled_out_or_found_by_what_is_known_of_it(destination: dict[str, Any]) -> None:
    found = parse_request({"destination": destination, "request": "GET /"}).destination
    assert found.namespace == destination.get("namespace")
    assert found.labels == destination.get("labels")
    assert found.principal == destination.get("principal")
    assert found.address == ("2001:db8::1" if "ip" in destination else None)


def changed(path: str, value: object) -> dict[str, Any]:
    """`FULL` with another value in one place."""
    *outer, last = path.split(".")
    document: dict[str, Any] = {name: dict(part) if isinstance(part, dict) else part for name, part in FULL.items()}
    target = document
    for name in outer:
        target[name] = dict(target[name])
        target = target[name]
    target[last] = value
    return document


@pytest.mark.parametrize(
    ("path", "value", "message", "remedy"),
    [
        ("sourc", {}, "unknown field `sourc`", "did you mean `source`?"),
        ("source.princpal", "x", "unknown field `princpal`", "did you mean `principal`?"),
        ("source.zzz", "x", "unknown field `zzz`", "known are: ip, principal, remoteIp"),
        ("source", [], "expected a mapping, got a list", None),
        ("source.principal", "", "it is empty", "leave it out for a caller without certificate"),
        (
            "source.principal",
            "td/ns/a/sa/b",
            "'td/ns/a/sa/b' has no scheme",
            "write `spiffe://td/ns/a/sa/b`",
        ),
        ("source.ip", "10.0.0.0/8", "'10.0.0.0/8' is not an IP address", None),
        ("source.ip", 7, "expected text, got the number 7", 'quote it: "7"'),
        ("source.remoteIp", "x", "'x' is not an IP address", None),
        ("destination.ip", "", "'' is not an IP address", None),
        ("destination.port", "80", "'80' is not a port", "a number from 0 to 65535"),
        ("destination.port", 65536, "65536 is not a port", "a number from 0 to 65535"),
        ("destination.port", -1, "-1 is not a port", "a number from 0 to 65535"),
        ("destination.port", True, "True is not a port", "a number from 0 to 65535"),
        ("destination.namespace", "shop", "the destination is named by `workload` already", "drop one of the two"),
        ("connection.protocol", "udp", "unknown protocol 'udp'", "`http` or `tcp`"),
        ("request.method", None, "`method` is missing", "an HTTP request has one; for a connection: `protocol: tcp`"),
        ("request.path", None, "`path` is missing", "an HTTP request has one; for a connection: `protocol: tcp`"),
        ("request.path", True, "expected text, got the boolean true", 'quote it: "True"'),
        ("request.headers", "x", "expected a mapping, got the text 'x'", None),
        ("request.headers.x", None, "expected text, got nothing", None),
        ("request.headers.x", ["a", 1.5], "expected text, got the number 1.5", 'quote it: "1.5"'),
        ("request.headers.x", [["a"]], "expected text, got a list", None),
        ("request.headers.x", {}, "expected text, got a mapping", None),
        *(
            (
                f"request.headers.{name}",
                "x",
                f"`{name}` is no header here",
                "method, path, host and scheme stand beside `headers`, under their own names",
            )
            for name in ("Host", ":path", ":authority")
        ),
        ("jwt", {}, "give one of `token` and `claims`", "for a request without a token leave `jwt` out"),
        ("jwt.token", "e30", "give one of `token` and `claims`", "for a request without a token leave `jwt` out"),
        ("jwt.claims", [], "expected a mapping, got a list", None),
        ("destination.service", "api", "'api' is no service", "write `namespace/name`"),
        ("destination.serviceEntry", "shop/", "'shop/' is no service", "write `namespace/name`"),
    ],
)
def test_a_document_that_says_what_it_cannot_is_refused_with_the_place_and_a_remedy(
    path: str, value: object, message: str, remedy: str | None
) -> None:
    with pytest.raises(RequestError) as caught:
        parse_request(changed(path, value))
    assert (caught.value.message, caught.value.help) == (message, remedy)
    place = ".".join(map(str, caught.value.path))
    assert path.startswith(place)
    assert str(caught.value) == f"{place}: {message}"


@pytest.mark.parametrize("line", ["GET", "GET ", " /x", "", " "])
def test_a_line_that_is_no_method_and_path_is_refused(line: str) -> None:
    with pytest.raises(RequestError, match="is not `METHOD /path`"):
        parse_request({"workload": "a/b", "request": line})


@pytest.mark.parametrize("part", [{"request": "GET /"}, {"jwt": {"claims": {}}}])
def test_a_connection_with_something_of_http_is_refused(part: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="a TCP connection has none"):
        parse_request({"workload": "a/b", "connection": {"protocol": "tcp"}, **part})


@pytest.mark.parametrize("document", [{}, {"request": "GET /"}, {"request": "GET /", "destination": {"port": 80}}])
def test_a_document_without_a_destination_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(RequestError):
        parse_request(document)


def test_labels_need_a_namespace() -> None:
    with pytest.raises(RequestError, match="labels without a `namespace`"):
        parse_request({"workload": "a/b", "destination": {"labels": {"a": "b"}}, "request": "GET /"})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.sampled_from(sorted(FULL)), inner, max_size=3)
    ),
    max_leaves=8,
)
PLACES = list(FULL) + [f"{name}.{field}" for name, part in FULL.items() if isinstance(part, dict) for field in part]


@settings(max_examples=500)
@given(st.sampled_from([*PLACES, "request.headers.x", "destination.labels"]), JSON)
def test_reading_is_total(path: str, value: object) -> None:
    try:
        document = parse_request(changed(path, value))
    except RequestError:
        return
    assert isinstance(document, RequestDocument)


@given(JSON)
def test_reading_anything_is_total(data: object) -> None:
    with pytest.raises(RequestError):
        parse_request(data)


USUAL: dict[str, Any] = {
    "workload": "shop/api",
    "source": {"principal": "spiffe://td/ns/shop/sa/web", "ip": "10.0.0.1"},
    "request": {"method": "GET", "path": "/items", "host": "api", "headers": {"X-Role": "a", "x-tier": "b"}},
    "jwt": {"claims": {"iss": "i", "scope": "a b"}},
}
USUAL_PLACES = [(name,) for name in USUAL] + [
    (name, field)
    for name, part in USUAL.items()
    if isinstance(part, dict)
    for field in [*part, "remoteIp", "x", "token"]
]
ODD: list[object] = [
    *(None, "", "a", "spiffe://td/x", "td/ns/a/sa/b", "10.0.0.2", "10.0.0.300", "::1", 7, True, [], ["a"], {}),
    *({"x-role": "c", "X-ROLE": "d"}, {"host": "c"}, {":path": "/"}, {"x": None}, {"x": ["a", "b"]}, {"claims": {}}),
    *({"claims": None}, {"token": "a.b.c"}, {"claims": {}, "token": "t"}, {"method": "GET", "path": "/"}, "GET /"),
]


@settings(max_examples=1000)
@given(
    st.dictionaries(st.sampled_from(USUAL_PLACES), JSON | st.sampled_from(ODD), max_size=3),
    st.sets(st.sampled_from(USUAL_PLACES), max_size=2),
)
def test_what_is_usual_is_read_as_anything_is(
    given_: dict[tuple[str, ...], object], left_out: set[tuple[str, ...]]
) -> None:
    document = deepcopy(USUAL)
    for (*outer, name), value in given_.items():
        part = document[outer[0]] if outer else document
        if isinstance(part, dict):
            part[name] = value
    for *outer, name in left_out:
        part = document.get(outer[0]) if outer else document
        if isinstance(part, dict):
            part.pop(name, None)
    assert read_by(parse_request, document) == read_by(read_any, document)


def read_by(read: Callable[[object], RequestDocument], document: object) -> object:
    try:
        return read(document)
    except RequestError as error:
        return error.path, error.message, error.help


def test_recorded_traffic_is_usual() -> None:
    parts = USUAL.keys() - {"workload", "request"}
    for left_out in (*parts, None):
        assert _read_usual({name: part for name, part in USUAL.items() if name != left_out}) is not None


def test_a_token_is_where_clients_put_it() -> None:
    document = {"workload": "shop/api", "request": {"method": "GET", "path": "/", "headers": {"x": "1"}}}
    read = parse_request({**document, "jwt": {"token": "a.b.c"}}).attributes
    assert read.headers == {"x": ("1",), "authorization": ("Bearer a.b.c",)}
    assert read.claims is None
    twice = {**document, "request": {"method": "GET", "path": "/", "headers": {"Authorization": "Basic x"}}}
    with pytest.raises(RequestError, match="has an `authorization` header as well"):
        parse_request({**twice, "jwt": {"token": "a.b.c"}})


def test_a_service_of_a_waypoint_is_named_by_one_of_two_fields() -> None:
    def service(**destination: str) -> object:
        document = {"workload": "shop/waypoint", "destination": destination, "request": "GET /"}
        return parse_request(document).destination.service

    assert service() is None
    assert service(service="shop/api") == ServiceRef(namespace="shop", name="api")
    assert service(serviceEntry="shop/ext") == ServiceRef(namespace="shop", name="ext", external=True)
    with pytest.raises(RequestError, match="`service` is given as well"):
        service(service="shop/api", serviceEntry="shop/ext")


ADDRESSES = st.sampled_from(["10.0.0.1", "2001:db8::1", "::ffff:10.0.0.1", "fe80::1%eth0"])
TEXT = st.text(max_size=4)
HEADER = st.text(max_size=4).map(ascii_lower).filter(lambda name: name != "host" and not name.startswith(":"))
MAYBE_TEXT = st.none() | TEXT
FACTS = st.fixed_dictionaries(
    {
        "identities": st.just(()) | st.tuples(TEXT.map("spiffe://{}".format)),
        "source_ip": st.none() | ADDRESSES,
        "remote_ip": st.none() | ADDRESSES,
        "destination_ip": st.none() | ADDRESSES,
        "destination_port": st.none() | st.integers(0, 65535),
        "sni": MAYBE_TEXT,
        "method": TEXT,
        "path": TEXT,
        "host": MAYBE_TEXT,
        "scheme": MAYBE_TEXT,
        "headers": st.dictionaries(HEADER, st.lists(TEXT, max_size=3).map(tuple), max_size=3),
        "claims": st.none() | st.dictionaries(TEXT, TEXT, max_size=3),
    }
)


@given(FACTS, st.booleans(), st.booleans())
def test_what_is_written_of_any_facts_is_read_as_they_are(facts: dict[str, Any], nothing: bool, bare: bool) -> None:  # noqa: FBT001
    def said(fields: dict[str, object]) -> dict[str, object]:
        return {name: value for name, value in fields.items() if nothing or value is not None}

    document = {
        "workload": "shop/api",
        "destination": said({"ip": facts["destination_ip"], "port": facts["destination_port"]}),
        "source": said(
            {
                "principal": next(iter(facts["identities"]), None),
                "ip": facts["source_ip"],
                "remoteIp": facts["remote_ip"],
            }
        ),
        "connection": said({"sni": facts["sni"]}),
        "request": said({name: facts[name] for name in ("method", "path", "host", "scheme")})
        | {"headers": {name: v[0] if bare and len(v) == 1 else list(v) for name, v in facts["headers"].items()}},
        **({} if facts["claims"] is None else {"jwt": {"claims": facts["claims"]}}),
    }
    addresses = {
        name: None if facts[name] is None else ip_address(facts[name])
        for name in ("source_ip", "remote_ip", "destination_ip")
    }
    addresses["remote_ip"] = addresses["remote_ip"] or addresses["source_ip"]
    read = parse_request(document)
    assert read.attributes == Attributes(**{**facts, **addresses})
    where = addresses["destination_ip"]
    assert read.destination == Destination(workload="shop/api", address=None if where is None else str(where))
