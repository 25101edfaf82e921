"""What the decision log writes is read sooner, and is read as anything is."""

from copy import deepcopy
from itertools import product
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from parser.logged_request import _read_logged, parse_logged_request
from parser.request import RequestDocument, RequestError, read_any

LOGGED: dict[str, Any] = {
    "workload": "shop/api",
    "destination": {"principal": "spiffe://td/ns/shop/sa/api", "ip": "10.0.0.9", "port": 8080},
    "source": {"principal": "spiffe://td/ns/shop/sa/web", "ip": "10.0.0.1", "remoteIp": "::1"},
    "connection": {"protocol": "http", "sni": "api.shop"},
    "request": {"method": "GET", "path": "/", "host": "api", "scheme": "https", "headers": {"x-role": ["a", "b"]}},
    "jwt": {"claims": {"iss": "i"}},
}
PLACES: list[tuple[str, ...]] = [
    *((name,) for name in (*LOGGED, "decision", "other")),
    *((name, inner) for name, part in LOGGED.items() if isinstance(part, dict) for inner in (*part, "other")),
    ("request", "headers", "x-role"),
    ("request", "headers", "X-Role"),
    ("request", "headers", "host"),
]
ODD: list[object] = [
    *(None, "", "a", "tcp", "http", "spiffe://td/x", "td/ns/a/sa/b", "10.0.0.2", "10.0.0.300", "::1", "::0001"),
    *(0, 7, -1, 65536, True, 1.5, [], ["a"], [1], {}, {"claims": {}}, {"token": "a.b.c"}, {"namespace": "shop"}),
]


@settings(max_examples=500)
@given(
    st.dictionaries(st.sampled_from(PLACES), st.sampled_from(ODD), max_size=2),
    st.sets(st.sampled_from(PLACES), max_size=3),
)
def test_it_is_read_as_anything_is(given_: dict[tuple[str, ...], object], left_out: set[tuple[str, ...]]) -> None:
    document = deepcopy(LOGGED)
    for place, value in given_.items():
        part = inner(document, place)
        if isinstance(part, dict):
            part[place[-1]] = value
    for place in left_out:
        part = inner(document, place)
        if isinstance(part, dict):
            part.pop(place[-1], None)
    assert read_by(parse_logged_request, document) == read_by(read_any, document)


def test_each_odd_value_at_each_place() -> None:
    for place, value in product(PLACES, ODD):
        document = deepcopy(LOGGED)
        inner(document, place)[place[-1]] = value
        assert read_by(parse_logged_request, document) == read_by(read_any, document), (place, value)


def inner(document: Any, place: tuple[str, ...]) -> Any:
    for name in place[:-1]:
        document = document.get(name) if isinstance(document, dict) else None
    return document


def read_by(read: Any, document: object) -> RequestDocument | tuple[object, ...]:
    try:
        found: RequestDocument = read(document)
    except RequestError as error:
        return error.path, error.message, error.help
    return found


def test_all_that_is_logged_is_usual() -> None:
    assert _read_logged(LOGGED) == read_any(LOGGED)
    for place in (
        ("jwt",),
        ("destination", "principal"),
        ("source", "principal"),
        ("connection", "sni"),
        ("request", "headers"),
    ):
        document = deepcopy(LOGGED)
        inner(document, place).pop(place[-1])
        assert _read_logged(document) == read_any(document), place
