"""The page about the language says what the registry says, and its examples are decided as it says."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from authz import values
from authz.keys import KEYS, OPERATION_FIELDS, SOURCE_FIELDS, AttributeKey, Use
from authz.mesh_config import MeshConfig
from mesh.deciding import Offline, decide
from mesh.snapshot import Snapshot
from parser.manifests import parse_manifests
from parser.request import parse_request

PAGE = (Path(__file__).parents[3] / "docs" / "language.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)---\n# Decides:\n(.*?)```", PAGE, re.DOTALL)

KINDS: dict[Callable[..., object], str] = {
    values.text: "text",
    values.header: "text or header",
    values.host: "text or header",
    values.path: "path",
    values.principal: "principal",
    values.namespace: "namespace",
    values.service_account: "service account",
    values.trust_domain: "trust domain",
    values.request_principal: "token principal",
    values.cidr: "address",
    values.port: "port",
    values.metadata: "metadata",
}


def rendered() -> str:
    """The table of attributes as the page must have it."""
    rows = ["| `when` | Field | What it is | Kind | Example | HTTP only |", "|---|---|---|---|---|---|"]
    return "\n".join([*rows, *map(row, KEYS.values())])


def row(key: AttributeKey) -> str:
    when = f"`{key.name}{key.argument.value}`" if key.use is Use.WHEN else ""
    found = [
        field for fields in (SOURCE_FIELDS, OPERATION_FIELDS) for field, read in fields.items() if read.key == key.name
    ]
    fields = ", ".join(f"`{camel(field)}`" for field in found)
    http = "yes" if key.http_only else ""
    return f"| {when} | {fields} | {key.summary} | {KINDS[key.matchers]} | `{key.example}` | {http} |"


def camel(field: str) -> str:
    first, *others = field.split("_")
    return first + "".join(map(str.capitalize, others))


def test_the_table_on_the_page_is_what_the_registry_says() -> None:
    found = re.search(r"<!-- attributes -->\n(.*?)\n?<!-- /attributes -->", PAGE, re.DOTALL)
    assert found is not None
    assert found[1].strip() == rendered(), f"write into docs/language.md:\n{rendered()}"


def test_the_page_explains_every_kind_of_value_and_no_other() -> None:
    listed = re.search(r"\| Kind \| Values \|\n\|---\|---\|\n(.*?)\n\n", PAGE, re.DOTALL)
    assert listed is not None
    assert {line.split("|")[1].strip() for line in listed[1].splitlines()} == set(KINDS.values())


def test_every_example_on_the_page_is_decided() -> None:
    assert len(EXAMPLES) == PAGE.count("```yaml") > 5


@pytest.mark.parametrize(("policies", "requests"), EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_on_the_page_is_decided_as_it_says(policies: str, requests: str) -> None:
    manifests = parse_manifests([("page.yaml", policies.encode())])
    assert not manifests.errors, manifests.diagnostics
    snapshot = Snapshot(policies=manifests.policies, workloads=(), config=MeshConfig(), revision="page")
    for request in yaml.safe_load(requests):
        assert answer(snapshot, request) == request["verdict"], request


def answer(snapshot: Snapshot, request: dict[str, Any]) -> str:
    document = {name: value for name, value in request.items() if name != "verdict"}
    destination = {"namespace": "shop", **document.pop("destination", {})}
    return decide(snapshot, parse_request({**document, "destination": destination}), Offline(at=0)).verdict.value
