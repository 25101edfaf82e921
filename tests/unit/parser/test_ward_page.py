"""The page about ward says what is so: its examples are canonical ward, and its tables are what the program does."""

import re
from pathlib import Path
from typing import Any

import pytest

from authz.keys import OPERATION_FIELDS, SOURCE_FIELDS
from authz.model import field_name
from parser.formatting import Syntax, format_manifest
from parser.resource_document import document_of
from parser.ward import parse_ward
from parser.ward_words import WORDS
from parser.yaml_nodes import parse_documents, to_data

PAGE = (Path(__file__).parents[3] / "docs" / "ward.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```ward\n(.*?)```", PAGE, re.DOTALL)
ROWS = re.findall(
    r"^\| `(.*?)` \| (.*?) ?\|$", PAGE.partition("<!-- words -->")[2].partition("<!-- /words -->")[0], re.MULTILINE
)


@pytest.mark.parametrize("block", BLOCKS)
def test_the_examples_are_written_as_they_would_be_printed(block: str) -> None:
    assert format_manifest(block.encode(), "f.ward").text == block


def test_the_first_example_is_the_yaml_that_it_is_said_to_be() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert format_manifest(BLOCKS[0].encode(), "f.ward", to=Syntax.YAML).text == example
    assert format_manifest(example.encode(), "f.yaml", to=Syntax.WARD).text == BLOCKS[0]


def test_the_table_of_attributes_is_what_the_registry_says() -> None:
    def table(part: str, fields: Any) -> str:
        rows = "".join(f"| `{read.key}` | `{field_name(field)}` |\n" for field, read in fields.items())
        return f"| `{part}` | in YAML |\n|---|---|\n{rows}"

    found = PAGE.partition("<!-- attributes -->\n")[2].partition("<!-- /attributes -->")[0]
    assert found == table("from", SOURCE_FIELDS) + "\n" + table("to", OPERATION_FIELDS)


@pytest.mark.parametrize(("ward", "fields"), ROWS)
def test_the_table_of_words_says_what_becomes_of_each(ward: str, fields: str) -> None:
    (policy,) = parse_ward(ward.replace("…", "allow nothing") if ward.endswith("…") else ward)
    document: dict[str, Any] = as_data(document_of(policy))
    expected: dict[str, Any] = {}
    for field in re.findall("`(.*?)`", fields):
        (node,), problems = parse_documents(field.encode(), "f.yaml")
        assert not problems
        found = to_data(node)
        assert isinstance(found, dict)
        expected |= found
    metadata, spec = document["metadata"], document["spec"]
    for name in ("kind", "metadata"):
        if name in expected:
            assert document[name] == expected.pop(name)
    # What a row does not mention is what the first row of its kind does, or what it could not do without.
    if "action" not in expected:
        spec.pop("action", None)
    if "mtls" not in expected:
        assert "mtls" not in spec or "kind" in expected
    extra = {name: value for name, value in metadata.items() if name not in ("name", "namespace")}
    assert extra | spec == expected


def as_data(value: Any) -> Any:
    match value:
        case dict():
            return {key: as_data(each) for key, each in value.items()}
        case list() | tuple():
            return [as_data(each) for each in value]
        case _:
            return value


def test_every_word_is_on_the_page() -> None:
    # These two stand for what Istio refuses: a source or an operation that asks for nothing.
    missing = [word for word in WORDS if not re.search(rf"(?<![\w-]){word}(?![\w-])", PAGE)]
    assert missing == ["anyone", "anything"]
