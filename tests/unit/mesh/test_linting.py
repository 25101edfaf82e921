"""Linting files as a whole: what comments pass over, and what they cannot."""

from pathlib import Path

import pytest

from mesh.directory import DirectoryStore
from mesh.linting import Linted, lint
from parser.problems import MAX_PROBLEMS

HEAD = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: %s, namespace: shop}\nspec:\n"


@pytest.fixture
def linted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Files":
    monkeypatch.chdir(tmp_path)
    return Files()


class Files:
    def of(self, **texts: str) -> Linted:
        for name, text in texts.items():
            Path(f"{name}.yaml").write_text(text, encoding="utf-8")
        return lint(DirectoryStore(["."]).examine())

    def codes(self, **texts: str) -> list[tuple[str, str, int]]:
        return [(each.span.file, each.code, each.span.line) for each in self.of(**texts).diagnostics]


def policy(*rules: str, name: str = "a") -> str:
    return HEAD % name + "  rules:\n" + "".join(f"    {rule}\n" for rule in rules)


def test_a_warning_is_passed_over_by_a_comment_and_counted(linted: Files) -> None:
    found = linted.of(a=policy("- {}  # meshward-ignore: allows-everyone public"))
    assert (found.diagnostics, found.ignored) == ((), 1)


def test_warnings_of_validation_are_passed_over_too(linted: Files) -> None:
    rule = "- to: [{operation: {hosts: [a.example]}}]  # meshward-ignore: host-without-port the gateway strips it"
    assert linted.codes(a=policy(rule)) == []


def test_one_comment_is_about_all_that_is_found_there_of_its_codes(linted: Files) -> None:
    rule = "- to: [{operation: {methods: [GET, GET, GET]}}]  # meshward-ignore: redundant-value,literal-star odd but agreed"
    assert linted.codes(a=policy(rule)) == [("a.yaml", "unused-ignore", 6)]
    assert linted.of(a=policy(rule)).ignored == 2


def test_an_error_cannot_be_passed_over(linted: Files) -> None:
    rule = "- to: [{operation: {ports: [80]}}]  # meshward-ignore: wrong-type we like it"
    assert linted.codes(a=policy(rule)) == [("a.yaml", "wrong-type", 6)]


def test_while_there_are_errors_meaning_and_comments_are_left_alone(linted: Files) -> None:
    found = linted.codes(a=policy("- {}"), b=policy("- {}  # meshward-ignore: allows-everyone ok", name="b"), c="a: [")
    assert found == [("c.yaml", "yaml-syntax", 1)]


def test_what_is_found_comes_in_the_order_of_files_and_places(linted: Files) -> None:
    wide, odd = "- from: [{source: {principals: ['*']}}]", "- to: [{operation: {paths: ['/a/*/b']}}]"
    assert linted.codes(b=policy(odd, wide, name="b"), a=policy(wide)) == [
        ("a.yaml", "wide-allow", 6),
        ("b.yaml", "literal-star", 6),
        ("b.yaml", "duplicate-rule", 7),
        ("b.yaml", "wide-allow", 7),
    ]


def test_a_rule_is_shadowed_by_one_of_another_file_which_is_named_with_its_place(linted: Files) -> None:
    found = linted.of(
        a=policy("- {}  # meshward-ignore: allows-everyone ok"),
        b=policy("- from: [{source: {namespaces: [x]}}]", name="b"),
    )
    (only,) = found.diagnostics
    assert (only.code, only.span.file) == ("shadowed-rule", "b.yaml")
    assert "`shop/a#0` (a.yaml:6:7)" in only.message


def test_of_a_file_with_thousands_of_findings_a_thousand_are_said(linted: Files) -> None:
    rules = [f"- to: [{{operation: {{paths: ['/a{number}/*/b']}}}}]" for number in range(400)]
    texts = "---\n".join(policy(*rules, name=f"p{number}") for number in range(4))
    found = linted.of(a=texts)
    assert len(found.diagnostics) == MAX_PROBLEMS + 1
    assert "too-many-problems" in {each.code for each in found.diagnostics}


def test_findings_in_ward_are_in_its_words(linted: Files) -> None:
    Path("p.ward").write_text('policy p in shop\n  allow to request.path in ["/a", "/a/*", "/a/b"]\n', encoding="utf-8")
    (only,) = linted.of().diagnostics
    assert (only.code, only.message) == ("redundant-value", "`/a/*` in `request.path` covers `/a/b`, too")


def test_long_values_are_cut_in_messages(linted: Files) -> None:
    long = "x" * 5000
    (only,) = linted.of(a=policy(f"- to: [{{operation: {{paths: ['{long}']}}}}]")).diagnostics
    assert (only.code, len(only.message) < 300, len(only.help or "") < 300) == ("unmatchable-value", True, True)
