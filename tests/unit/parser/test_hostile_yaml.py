"""What must not hurt: each input here would, if read as it asks to be."""

import tracemalloc
from time import perf_counter

import pytest

from parser import yaml_nodes, yaml_text
from parser.diagnostics import Diagnostic, render
from parser.manifests import parse_manifests
from parser.problems import MAX_PROBLEMS
from parser.yaml_nodes import MAX_DEPTH, MAX_DOCUMENTS, MAX_EXPANDED, parse_documents
from parser.yaml_text import MAX_FILE


def problem(data: str | bytes) -> Diagnostic:
    raw = data.encode() if isinstance(data, str) else data
    nodes, problems = parse_documents(raw, "f.yaml")
    assert nodes == []
    (only,) = problems
    assert only.help
    return only


def test_a_file_that_is_too_large_is_not_even_decoded() -> None:
    assert problem(b"\xff" * (MAX_FILE + 1)).code == "file-too-large"


@pytest.mark.parametrize("width", [2, 10, 300])
def test_aliases_that_multiply_are_refused_before_they_do(width: int) -> None:
    levels = 12
    lines = ["a0: &a0 [" + ", ".join("x" * width) + "]"]
    lines += [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * width) + "]" for n in range(1, levels)]
    text = "\n".join(lines)
    if width**levels * 2 < MAX_EXPANDED:
        assert parse_documents(text.encode(), "f.yaml")[1] == []
    else:
        assert problem(text).code == "alias-bomb"


def test_aliases_that_only_repeat_one_large_value_are_counted_too() -> None:
    text = "a: &a [" + "x, " * 1000 + "x]\nb: [" + "*a, " * 200 + "*a]\n"
    assert problem(text).code == "alias-bomb"


def test_merged_mappings_count_as_what_they_repeat() -> None:
    keys = ", ".join(f"k{n}: 1" for n in range(1000))
    text = f"a: &a {{{keys}}}\n" + "".join(f"b{n}: {{<<: *a}}\n" for n in range(100))
    assert problem(text).code == "alias-bomb"


def test_aliases_cannot_build_depth() -> None:
    text = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 200))
    assert problem(text).code == "too-deep"


@pytest.mark.parametrize(
    "text",
    [
        "[" * 10_000,
        "{a: " * 10_000,
        "[" * 10_000 + "]" * 10_000,
        "[\n" * 10_000,
        "- " * 10_000 + "x",
        "? " * 10_000 + "x",
        "".join(" " * depth + "a:\n" for depth in range(2_000)),
        "a: {{" + "[" * 10_000,
    ],
    ids=["list", "mapping", "closed list", "lines", "block list", "block key", "block mapping", "template"],
)
def test_depth_is_bounded_in_every_style(text: str) -> None:
    assert problem(text).code in {"too-deep", "template"}


def test_the_greatest_depth_is_read() -> None:
    text = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert parse_documents(text.encode(), "f.yaml")[1] == []
    assert problem("[" + text + "]").code == "too-deep"


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b"\xff", (1, 1)),
        (b"a: b\nc: \xc3\x28\n", (2, 4)),
        ("ä: ".encode() + b"\x80", (1, 4)),
        (b"a: \xed\xa0\x80", (1, 4)),
    ],
)
def test_bytes_that_are_not_utf_8_are_shown_by_line_and_column(data: bytes, place: tuple[int, int]) -> None:
    found = problem(data)
    assert (found.code, found.span.line, found.span.column) == ("not-utf-8", *place)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-32-be"])
def test_other_encodings_are_named(encoding: str) -> None:
    mark = "" if encoding in {"utf-16", "utf-32"} else "\ufeff"
    found = problem((mark + "a: b\n").encode(encoding))
    assert found.code == "not-utf-8"
    assert encoding[:6].upper() in found.message


def test_utf_16_without_its_mark_is_recognized_by_its_nuls() -> None:
    found = problem("a: b\n".encode("utf-16-le"))
    assert found.code == "control-character"
    assert "UTF-16" in (found.help or "")


@pytest.mark.parametrize("character", ["\0", "\x01", "\x1b", "\x7f", "\x80", "\ufffe", "\ufeff"])
def test_a_character_that_yaml_forbids_is_named_and_shown_harmlessly(character: str) -> None:
    text = f"a: 1\n---\nb: x{character}y\n---\nc: 2\n"
    nodes, problems = parse_documents(text.encode(), "f.yaml")
    assert len(nodes) == 2
    (found,) = problems
    assert (found.code, found.span.line, found.span.column) == ("control-character", 3, 5)
    assert character not in render(found, text)


def test_scalars_may_be_huge_and_messages_about_them_are_short() -> None:
    text = "x" * 5_000_000
    nodes, problems = parse_documents(f"a: {text}\n".encode(), "f.yaml")
    assert not problems
    assert nodes
    found = parse_manifests(
        [
            (
                "f.yaml",
                f"apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: {text}}}\nspec: {text}\n".encode(),
            )
        ]
    )
    assert found.errors
    assert all(len(render(each, found.texts["f.yaml"])) < 1000 for each in found.diagnostics)


def test_thousands_of_documents_are_read() -> None:
    text = "---\na: b\n" * 5000
    nodes, problems = parse_documents(text.encode(), "f.yaml")
    assert (len(nodes), problems) == (5000, [])


def test_documents_are_counted_even_where_they_are_empty() -> None:
    assert problem("---\n" * (MAX_DOCUMENTS + 2)).code == "too-many-documents"


def test_values_are_counted_over_the_whole_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_nodes, "MAX_NODES", 100)
    text = "---\n[" + "x, " * 58 + "x]\n"
    assert len(parse_documents(text.encode(), "f.yaml")[0]) == 1
    nodes, problems = parse_documents((text * 5).encode(), "f.yaml")
    assert len(nodes) == 1
    assert [each.code for each in problems] == ["too-many-values"]


def test_problems_are_kept_up_to_a_number_and_then_the_file_is_left() -> None:
    nodes, problems = parse_documents(b"---\n'\n" * (MAX_PROBLEMS + 500), "f.yaml")
    assert nodes == []
    assert len(problems) == MAX_PROBLEMS + 1
    assert problems[-1].code == "too-many-problems"


def test_a_policy_of_nothing_but_mistakes_costs_bounded_memory() -> None:
    head = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: x}\nspec:\n"
    text = head + "".join(f"  principalz{n}: x\n" for n in range(20_000))
    tracemalloc.start()
    try:
        found = parse_manifests([("f.yaml", text.encode())])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(found.diagnostics) == MAX_PROBLEMS + 1
    assert peak < 64 * 1024 * 1024


RULES = "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {name: x}\nspec:\n  jwtRules:\n"
A_KEY = '{"kty": "RSA", "n": "AQ", "e": "AQAB", "d": "AQ"}'


@pytest.mark.parametrize(
    "text",
    [
        RULES + "  - {issuer: i, jwks: '{\"keys\": [" + ", ".join([A_KEY] * 20_000) + "]}'}\n",
        RULES + "  - {issuer: i, jwks: '" + "[" * 1_000_000 + "'}\n",
        RULES + "  - {issuer: i, jwks: '{\"keys\": " + "9" * 1_000_000 + "}'}\n",
        RULES + "".join(f"  - {{issuer: i{n}, audiences: ['']}}\n" for n in range(4096)),
        RULES + "".join(f"  - {{issuer: i{n}}}\n" for n in range(20_000)),
        RULES + "  - {issuer: i, audiences: [" + "'', " * 200_000 + "]}\n",
        RULES + "  - {issuer: i, timeout: " + "9" * 1_000_000 + "s}\n",
        RULES + "  - {issuer: i, jwksUri: 'https://" + "a." * 500_000 + "'}\n",
        "extensionProviders:\n" + "".join(f"- {{name: p{n}, envoyExtAuthzGrpc: {{service: a, port: 0}}}}\n" for n in range(10_000)),
        "extensionProviders:\n- {name: p, envoyExtAuthzGrpc: {service: '" + "a-." * 300_000 + "', port: 1}}\n",
        "extensionProviders:\n- {name: p, envoyExtAuthzHttp: {service: a, port: 1, pathPrefix: '/" + "%" * 500_000 + "'}}\n",
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [" + "{name: x}, " * 20_000 + "]}\n",
    ],
    ids=["keys", "depth", "digits", "rules", "more rules", "audiences", "duration", "uri", "providers", "host", "escapes", "ports"],
)  # fmt: skip
def test_large_values_of_every_kind_are_read_in_bounded_time(text: str) -> None:
    started = perf_counter()
    found = parse_manifests([("f.yaml", text.encode())])
    assert perf_counter() - started < 20
    assert len(found.diagnostics) <= MAX_PROBLEMS + 1
    assert all(len(render(each, found.texts["f.yaml"])) < 1000 for each in found.diagnostics)


def test_blank_files_of_any_shape_start_no_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> None:
        raise AssertionError

    monkeypatch.setattr(yaml_nodes, "CParser", refuse)
    for text in ("#\n" * 10_000, "\n" * 10_000, " " * 10_000, "\t" * 10_000, "---\n" * 1_000, "\r" * 1_000):
        assert parse_documents(text.encode(), "f.yaml") == ([], [])


def test_chunks_cover_the_text_without_gaps() -> None:
    text = "a\n---\nb\n...\nc\n--- d\n%X\n---\ne"
    parts = list(yaml_text.chunks(text))
    assert [text[part.start : part.end] for part in parts] == ["a\n", "---\nb\n...\n", "c\n", "--- d\n%X\n", "---\ne"]
