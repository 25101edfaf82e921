"""An OpenAPI document is read for its routes, and nothing else."""

import pytest

from parser.diagnostics import PolicySyntaxError
from parser.openapi import Route, parse_openapi


def routes(text: str) -> list[str]:
    return [f"{route.method} {route.template}" for route in parse_openapi(text.encode(), "api.yaml")]


def test_every_method_of_every_path_is_a_route() -> None:
    text = "openapi: 3.1.0\npaths:\n  /a: {get: {}, put: {}, summary: x, parameters: []}\n  /b/{id}: {delete: {}}\n"
    assert routes(text) == ["GET /a", "PUT /a", "DELETE /b/{id}"]


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("openapi: 3.0.0", ["GET /a"]),
        ("openapi: 3.0.0\nservers: [{url: https://x.example/v1/}]", ["GET /v1/a"]),
        ("openapi: 3.0.0\nservers: [{url: /v1}, {url: 'https://{region}.example/v2'}]", ["GET /v1/a", "GET /a"]),
        ('swagger: "2.0"\nbasePath: /v1', ["GET /v1/a"]),
        ('swagger: "2.0"', ["GET /a"]),
    ],
)
def test_routes_are_below_the_paths_of_their_servers(head: str, expected: list[str]) -> None:
    assert routes(f"{head}\npaths: {{/a: {{get: {{}}}}}}\n") == expected


def test_json_is_read_as_well() -> None:
    assert routes('{"openapi": "3.0.0", "paths": {"/a": {"post": {}}}}') == ["POST /a"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "this is no OpenAPI document"),
        ("kind: Pod\n", "this is no OpenAPI document"),
        ("openapi: 3.0.0\n", "there is no route in this document"),
        ("openapi: 3.0.0\npaths: {/a: {summary: x}}\n", "there is no route in this document"),
        ("openapi: 3.0.0\npaths: [a]\n", "expected a mapping in `paths`, got a list"),
    ],
)
def test_what_is_none_is_said(text: str, message: str) -> None:
    with pytest.raises(PolicySyntaxError) as caught:
        routes(text)
    assert [problem.message for problem in caught.value.diagnostics] == [message]


@pytest.mark.parametrize(
    ("template", "path", "fits"),
    [
        ("/a/{id}", "/a/7", True),
        ("/a/{id}", "/a/7/8", False),
        ("/a/{id}", "/a/", False),
        ("/a/{id}.json", "/a/7.json", True),
        ("/a.b", "/axb", False),
        ("/a/{x}/b/{y}", "/a/1/b/2", True),
    ],
)
def test_a_name_in_braces_stands_for_a_segment(template: str, path: str, fits: bool) -> None:  # noqa: FBT001  # a row
    route = Route("GET", template)
    assert (route.expression().fullmatch(path) is not None) is fits
    assert route.parameters == template.count("{")
