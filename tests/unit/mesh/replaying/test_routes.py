"""Paths that differ only in what is counted are one route, and words stay words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.replaying.routes import generalised


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/items", "/items"),
        ("/items/1001?page=2", "/items/{id}"),
        ("/items/1001/parts/7", "/items/{id}/parts/{id}"),
        ("/orders/2f1c5b1e-9d1c-4e0a-8f57-2f4f3f3f9d11", "/orders/{id}"),
        ("/commits/0badc0ffee", "/commits/{id}"),
        ("/commits/deadbeef", "/commits/deadbeef"),
        ("/orders/order-1234", "/orders/{id}"),
        ("/days/2026-11-27/notes", "/days/{id}/notes"),
        ("/users/alice@example.com", "/users/{id}"),
        ("/files/AbCdEf0123456789_x", "/files/{id}"),
        ("/v1/items", "/v1/items"),
        ("/items/", "/items/"),
        ("//items//7", "//items//{id}"),
        ("/internationalization", "/internationalization"),
        ("/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Check"),
        ("/items#7", "/items"),
        ("", ""),
    ],
)
def test_what_differs_from_request_to_request_is_taken_out(path: str, route: str) -> None:
    assert generalised(path) == route


@given(st.text(max_size=150))
def test_it_keeps_its_segments(path: str) -> None:
    bare = path.partition("?")[0].partition("#")[0]
    assert generalised(path).count("/") == bare.count("/")


def test_what_is_very_long_is_cut() -> None:
    assert len(generalised("/a" * 500)) == 200
