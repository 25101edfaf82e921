import pytest

from parser.yaml_nodes import Mapping, Scalar, Sequence, Value, parse_documents, to_data
from parser.yaml_spans import Spans, node_at


def data(text: str) -> Value:
    nodes, problems = parse_documents(text.encode(), "f.yaml")
    assert not problems, problems
    (node,) = nodes
    return to_data(node)


def faults(text: str | bytes) -> list[tuple[str, int, int]]:
    raw = text.encode() if isinstance(text, str) else text
    return [(each.code, each.span.line, each.span.column) for each in parse_documents(raw, "f.yaml")[1]]


def helps(text: str) -> list[str]:
    return [each.help or "" for each in parse_documents(text.encode(), "f.yaml")[1]]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("~", None),
        ("null", None),
        ("NULL", None),
        ("nULL", "nULL"),
        ("true", True),
        ("yes", True),
        ("y", True),
        ("On", True),
        ("off", False),
        ("N", False),
        ("oN", "oN"),
        ("0", 0),
        ("-12", -12),
        ("+12", 12),
        ("0x1F", 31),
        ("0o17", 15),
        ("017", 15),
        ("0b101", 5),
        ("1_000", 1000),
        ("08", 8.0),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1.", 1.0),
        ("1e3", 1000.0),
        ("1e", "1e"),
        ("1.2.3", "1.2.3"),
        ("18446744073709551615", 18446744073709551615),
        ("18446744073709551616", 18446744073709551616.0),
        ("1e999", "1e999"),
        ("22:22", "22:22"),
        ("2024-01-02", "2024-01-02"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("'8080'", "8080"),
        ('"true"', "true"),
        ("''", ""),
        ("!!str 8080", "8080"),
        ("! 8080", "8080"),
        ("!!int '8080'", 8080),
        ("!!float 1", 1),
        ("<<", "<<"),
    ],
)
def test_plain_scalars_are_what_kubernetes_takes_them_for(text: str, value: Value) -> None:
    assert data(f"a: {text}") == {"a": value}
    assert type(data(f"[{text}]")[0]) is type(value)  # type: ignore[index]  # a list, as written


def test_a_number_of_a_million_digits_is_left_as_text() -> None:
    assert data("a: " + "1" * 1_000_000) == {"a": "1" * 1_000_000}


def test_nodes_keep_the_text_that_was_written() -> None:
    nodes, _ = parse_documents(b"- 0x1F\n- 'it''s'\n", "f.yaml")
    (node,) = nodes
    assert isinstance(node, Sequence)
    number, text = node.items
    assert isinstance(number, Scalar)
    assert isinstance(text, Scalar)
    assert (number.text, number.plain, number.value) == ("0x1F", True, 31)
    assert (text.text, text.plain, text.value) == ("it's", False, "it's")


def test_every_value_has_its_place() -> None:
    text = "# top\nspec:\n  rules:\n  - from: [a, 'b']\n    to: |\n      x\n      y\n\n  last: {k: v}\n# end\n"
    nodes, _ = parse_documents(text.encode(), "f.yaml")
    lines = text.split("\n")

    def written(*path: str | int) -> str:
        node = node_at(nodes[0], path)
        assert node is not None
        span = node.span
        found = lines[span.line - 1 : span.end_line]
        found[-1] = found[-1][: span.end_column - 1]
        found[0] = found[0][span.column - 1 :]
        return "\n".join(found)

    assert written("spec", "rules", 0, "from") == "[a, 'b']"
    assert written("spec", "rules", 0, "from", 1) == "'b'"
    assert written("spec", "rules", 0, "to") == "|\n      x\n      y"
    assert written("spec", "rules") == "- from: [a, 'b']\n    to: |\n      x\n      y"
    assert written("spec", "last") == "{k: v}"
    assert written() == text[6:].removesuffix("\n# end\n")
    assert node_at(nodes[0], ("spec", "nothing")) is None
    assert node_at(nodes[0], ("spec", 0)) is None
    assert node_at(nodes[0], ("spec", "rules", 7)) is None
    spans = Spans.of(nodes[0])
    assert len(spans) == len(list(spans)) == 10
    second = node_at(nodes[0], ("spec", "rules", 0, "from", 1))
    assert second is not None
    assert spans["spec", "rules", 0, "from", 1] == second.span
    assert spans.get(("spec", "nothing")) is None


def test_columns_count_characters_and_lines_count_in_the_file() -> None:
    nodes, _ = parse_documents("\ufeff---\r\nä: 😀x\r\n---\r\nb: ü\r\n".encode(), "f.yaml")
    first, second = (node_at(node, path) for node, path in zip(nodes, (("ä",), ("b",)), strict=True))
    assert first is not None
    assert second is not None
    assert (first.span.line, first.span.column, first.span.end_column) == (2, 4, 6)
    assert (second.span.line, second.span.column, second.span.end_column) == (4, 4, 5)


def test_a_missing_value_is_null_and_has_a_place() -> None:
    nodes, _ = parse_documents(b"a:\nb: 1\n", "f.yaml")
    assert to_data(nodes[0]) == {"a": None, "b": 1}
    node = node_at(nodes[0], ("a",))
    assert node is not None
    span = node.span
    assert (span.line, span.column, span.end_column) == (1, 3, 3)


@pytest.mark.parametrize(
    "text",
    ["", "\n\n", "# only\n", "---\n", "---\n---\n# c\n", "--- # c\n", "...\n", "\ufeff", " \t\n", "---\n...\n---\n"],
)
def test_nothing_is_no_document(text: str) -> None:
    nodes, problems = parse_documents(text.encode(), "f.yaml")
    assert [to_data(node) for node in nodes] in ([], [None])
    assert not problems


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a\n---\nb\n", ["a", "b"]),
        ("---\na\n---\nb", ["a", "b"]),
        ("a\n...\nb\n", ["a", "b"]),
        ("--- a\n--- |\n b\n", ["a", "b\n"]),
        ("--- {a: b}\n---\t# c\nb\n", [{"a": "b"}, "b"]),
        ("a: ---x\n", [{"a": "---x"}]),
        ("---x\n", ["---x"]),
        ("%YAML 1.1\n# c\n---\na\n...\n%YAML 1.1\n---\nb\n", ["a", "b"]),
        ("a: |\n  ---\n  x\n", [{"a": "---\nx\n"}]),
        ("# c\rkind: X\n", [{"kind": "X"}]),
        ("# c\u2028kind: X\n", [{"kind": "X"}]),
        ("a\r---\rb\r", ["a", "b"]),
        ("---\r\na\r\n---\r\nb\r\n", ["a", "b"]),
        ("null\n", [None]),
    ],
)
def test_documents_are_split_at_their_markers(text: str, values: list[Value]) -> None:
    nodes, problems = parse_documents(text.encode(), "f.yaml")
    assert not problems
    assert [to_data(node) for node in nodes] == values


def test_a_broken_document_does_not_hide_the_problems_and_values_of_the_others() -> None:
    text = "a: 'open\n---\nb: 1\n---\nc: [1\n---\n- x\n y: z\n---\nd: 2\n"
    nodes, _ = parse_documents(text.encode(), "f.yaml")
    assert [to_data(node) for node in nodes] == [{"b": 1}, {"d": 2}]
    assert faults(text) == [("yaml-syntax", 1, 4), ("yaml-syntax", 5, 4), ("yaml-syntax", 8, 3)]


def test_a_document_that_goes_wrong_at_its_end_is_not_given_out() -> None:
    assert parse_documents(b"{a: b}}\n", "f.yaml")[0] == []


@pytest.mark.parametrize(
    ("text", "place"),
    [("a:\n\t- b\n", (2, 1)), ("a: b\n\tc: d\n", (2, 1)), ("a:\n  b: c\n  \td: e\n", (3, 3))],
)
def test_a_tab_is_named_with_its_place_and_remedy(text: str, place: tuple[int, int]) -> None:
    assert faults(text) == [("tab", *place)]
    assert helps(text) == ["indent with spaces"]


def test_a_tab_inside_a_value_is_text() -> None:
    assert data("a: 'x\ty'\nb:\tc\n") == {"a": "x\ty", "b": "c"}


def test_the_same_key_twice_is_an_error_at_the_second_that_names_the_line_of_the_first() -> None:
    text = "a: 1\nb: 2\n'a': 3\n"
    nodes, problems = parse_documents(text.encode(), "f.yaml")
    assert faults(text) == [("duplicate-key", 3, 1)]
    assert "line 1" in problems[0].message
    assert to_data(nodes[0]) == {"a": 1, "b": 2}


def test_keys_that_are_no_strings_read_as_json_has_them() -> None:
    assert data("1: a\nyes: b\n0x10: c\n1.5: d\n") == {"1": "a", "true": "b", "16": "c", "1.5": "d"}
    assert faults("1: a\n'1': b\n") == [("duplicate-key", 2, 1)]


@pytest.mark.parametrize(
    ("text", "code"), [("~: a\n", "null-key"), ("{null: a}\n", "null-key"), ("? [a]\n: b\n", "complex-key")]
)
def test_keys_that_json_cannot_have_are_errors(text: str, code: str) -> None:
    assert [fault[0] for fault in faults(text)] == [code]


def test_aliases_repeat_what_their_anchors_hold() -> None:
    text = "a: &x {k: [1, 2]}\nb: *x\nc: [*x, &y z, *y]\n*y : key\n"
    value = {"k": [1, 2]}
    assert data(text) == {"a": value, "b": value, "c": [value, "z", "z"], "z": "key"}


def test_anchors_end_with_their_document() -> None:
    assert faults("a: &x 1\n---\nb: *x\n") == [("unknown-alias", 3, 4)]


def test_an_alias_misspelt_gets_a_suggestion() -> None:
    assert helps("a: &labels {x: y}\nb: *lables\n") == ["did you mean `*labels`?"]


@pytest.mark.parametrize("text", ["a: &x [*x]\n", "a: &x\n  b:\n    <<: *x\n", "&x [a, {b: [*x]}]\n"])
def test_an_alias_inside_what_it_repeats_is_refused(text: str) -> None:
    assert [fault[0] for fault in faults(text)] == ["recursive-alias"]


def test_merged_keys_give_way_to_those_after_them() -> None:
    assert data("a: &a {k: 1, l: 2}\nb:\n  <<: *a\n  l: 3\n") == {"a": {"k": 1, "l": 2}, "b": {"k": 1, "l": 3}}


def test_of_several_merged_mappings_the_first_wins() -> None:
    assert data("- &a {k: 1}\n- &b {k: 2, l: 2}\n- <<: [*a, *b]\n") == [{"k": 1}, {"k": 2, "l": 2}, {"k": 1, "l": 2}]


def test_a_merge_that_readers_disagree_on_is_refused() -> None:
    assert faults("a: &a {x: 1}\nb:\n  x: 2\n  <<: *a\n") == [("ambiguous-merge", 4, 3)]


@pytest.mark.parametrize("text", ["<<: 1\n", "<<: [1]\n", "a: &a x\n<<: *a\n", "<<:\n"])
def test_a_merge_of_no_mapping_is_an_error(text: str) -> None:
    assert [fault[0] for fault in faults(text)] == ["bad-merge"]


def test_a_quoted_merge_key_is_a_key() -> None:
    assert data("'<<': {a: 1}\n") == {"<<": {"a": 1}}


def test_two_merge_keys_are_the_same_key_twice() -> None:
    assert faults("<<: {a: 1}\n<<: {b: 1}\n") == [("duplicate-key", 2, 1)]


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system [id]\n",
        "a: !!python/name:os.system x\n",
        "!Ref x\n",
        "a: !!binary aGk=\n",
        "a: !!timestamp 2024-01-01\n",
        "a: !!set {x}\n",
        "!!map [a]\n",
        "a: !<tag:example.org,2024:x> y\n",
        "%TAG ! tag:yaml.org,2002:python/\n---\na: !name:os.system x\n",
    ],
)
def test_tags_beyond_the_core_are_refused(text: str) -> None:
    (problem,) = parse_documents(text.encode(), "f.yaml")[1]
    assert problem.code == "foreign-tag"
    nodes, _ = parse_documents(text.encode(), "f.yaml")
    assert nodes == []


def test_a_tag_that_is_no_text_is_refused() -> None:
    assert faults("a: !<%F7%BF%BF%BF> x\n") == [("yaml-syntax", 1, 1)]


def test_a_value_that_is_not_what_its_tag_says_is_an_error() -> None:
    assert faults("a: !!int x\n") == [("bad-tag", 1, 4)]


@pytest.mark.parametrize(
    "text",
    ["a: {{ .Values.x }}\n", "{{- if .x }}\na: b\n{{- end }}\n", 'a: b\n{{ include "x" . }}\n', "- {{ .x }}: y\n"],
)
def test_a_template_is_told_to_be_rendered_first(text: str) -> None:
    (problem,) = parse_documents(text.encode(), "f.yaml")[1]
    assert problem.code == "template"
    assert "helm template" in (problem.help or "")


def test_braces_in_quotes_are_text() -> None:
    assert data("a: '{{ x }}'\n") == {"a": "{{ x }}"}


@pytest.mark.parametrize(
    "part", ["a: b: c", "a: @b", "a: 'b' c", "- a\nb: c", "a: |x", "&  a", '"\\q"', '"\\ud83d"', "a: - b"]
)
def test_each_syntax_error_has_a_remedy(part: str) -> None:
    (problem,) = parse_documents(part.encode(), "f.yaml")[1]
    assert problem.code == "yaml-syntax"
    assert problem.help


def test_mappings_keep_their_keys_with_their_places() -> None:
    nodes, _ = parse_documents(b"a: 1\n'b': 2\n", "f.yaml")
    (node,) = nodes
    assert isinstance(node, Mapping)
    assert {name: key.span.column for name, key in node.keys.items()} == {"a": 1, "b": 1}
    assert node.keys["b"].span.end_column == 4


def test_manifests_that_were_run_together_are_told_what_is_missing_between_them() -> None:
    _, diagnostics = parse_documents(b"apiVersion: v1\nkind: A\napiVersion: v1\nkind: B\n", "f.yaml")
    assert [diagnostic.span.line for diagnostic in diagnostics] == [3, 4]
    assert diagnostics[0].help == "write `---` in a line of its own between two manifests"
