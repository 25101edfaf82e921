"""An explanation, however it is shown: complete, without a secret, and without anything that a request or a policy slips in."""

import io
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import orjson
import pytest

from authz.mesh_config import MeshConfig
from cli.colour import print_explanation
from cli.explaining import document_of_explained, text_of_explained
from cli.reports.explanation_html import html_of_explanation
from mesh.deciding import Offline
from mesh.explaining import Explained, explain_document
from mesh.snapshot import Snapshot
from parser.manifests import parse_manifests
from parser.request import parse_request
from tests.unit.authz.vectors import FILES, cases
from tests.unit.cli.test_colour import ESCAPE, Terminal

EVIL = "\x1b[2J\x07<script>alert(1)</script>\u202e\"'&\udcff\n  ✓ allow"
POLICIES = {
    "\x1b[2J<i>p.yaml": json.dumps(
        {
            "apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy",
            "metadata": {"name": "p", "namespace": "shop"},
            "spec": {
                "rules": [
                    {
                        "to": [{"operation": {"paths": ["/<b>&\u202e", "/x\u0007"]}}],
                        "when": [
                            {"key": "request.headers[authorization]", "values": ["Bearer*"]},
                            {"key": "request.headers[x-evil]", "values": ["<img src=x>"]},
                            {"key": "request.headers[:path]", "values": ["/y*"]},
                        ],
                    }
                ]
            },
        }
    )
}


def explained(request: dict[str, Any], policies: dict[str, str] | None = None) -> Explained:
    found = parse_manifests([(name, text.encode()) for name, text in (policies or POLICIES).items()])
    assert not found.errors, found.diagnostics
    snapshot = Snapshot(policies=found.policies, workloads=(), config=MeshConfig(), revision="r1")
    return explain_document(snapshot, parse_request(request), Offline(at=0))


def evil() -> Explained:
    return explained(
        {
            "destination": {"namespace": "shop", "labels": {"app": "api"}},
            "source": {"principal": "spiffe://td/ns/a/sa/b"},
            "request": {
                "method": "GET",
                "path": f"/{EVIL}?token=hidden",
                "headers": {"authorization": "Bearer hidden", "x-evil": EVIL},
            },
        }
    )


def html(found: Explained) -> str:
    return html_of_explanation(document_of_explained(found, revision="r1"))


def as_json(found: Explained) -> str:
    return orjson.dumps(document_of_explained(found, revision="r1")).decode()


def test_nothing_from_a_request_or_a_policy_moves_the_terminal_or_begins_a_line() -> None:
    text = text_of_explained(evil(), every=True)
    assert all(line.isprintable() for line in text.split("\n")), text
    # The only signs at the beginnings of lines are those that were put there.
    assert "\n  ✓ allow" not in text
    assert text.encode()


def test_nothing_from_a_request_or_a_policy_becomes_markup() -> None:
    page = html(evil())
    assert "<script" not in page
    assert "<img" not in page
    assert "<b>&" not in page
    assert "<i>" not in page
    assert "&lt;script&gt;" in page
    assert all(line.isprintable() for line in page.split("\n"))
    assert page.encode()


def test_no_secret_is_shown() -> None:
    for shown in (text_of_explained(evil(), every=True), as_json(evil()), html(evil())):
        assert "hidden" not in shown
        assert "***" in shown


class Page(HTMLParser):
    """What is in a page: its tags, which must be closed in their order, and its text."""

    OPEN = frozenset({"meta"})

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert not [name for name, _ in attrs if name.startswith("on") or name in ("src", "href", "style")]
        if tag not in self.OPEN:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def closed(self) -> bool:
        return not self._open


TAGS = {
    *("html", "head", "meta", "title", "style", "body", "div", "h1", "h2", "p", "span", "ul", "li"),
    *("details", "summary", "b", "table", "tr", "td", "code"),
}


def vectors() -> Iterator[Explained]:
    for file in FILES:
        for case in cases(file)[::3]:
            asked = Offline(at=0, allowed_by=frozenset(case.allowed_by))
            yield explain_document(case.group.snapshot, case.document, asked)


def squeezed(text: str) -> str:
    return " ".join(text.split())


def test_every_vector_is_shown_whole_in_every_form() -> None:
    for found in vectors():
        text = text_of_explained(found, every=True)
        document = document_of_explained(found, revision="r1")
        page = Page()
        page.feed(html_of_explanation(document))
        assert page.closed()
        assert page.tags <= TAGS
        seen = squeezed(page.text)
        assert not re.search("(ALLOW|DENY|CUSTOM|AUDIT)(matches|does|is)", seen)
        assert text.startswith(document["answer"][0])
        for line in document["answer"]:
            assert squeezed(line) in seen
        for step in document["steps"]:
            assert step["words"] in text
            assert squeezed(step["words"]) in seen
            for clause in clauses_of(step):
                assert f"{clause['words'][0]}  {clause['words'][1]}  (line {clause['place']['line']})" in text
                for words in clause["words"]:
                    assert squeezed(words) in seen


def clauses_of(step: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for policy in step["policies"]:
        for rule in policy["rules"]:
            for part in (*rule["from"], *rule["to"]):
                yield from part["clauses"]
            yield from rule["when"]


def test_a_page_needs_nothing_from_elsewhere_and_is_light_or_dark() -> None:
    page = html(evil())
    assert "prefers-color-scheme: dark" in page
    assert "default-src 'none'" in page
    assert not re.search(r"https?://(?!td)", page)


def test_a_coloured_explanation_has_the_same_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal: io.StringIO = Terminal()
    text = text_of_explained(evil(), every=True)
    print_explanation(text, terminal)
    shown = terminal.getvalue()
    assert shown != text
    assert ESCAPE.sub("", shown) == text
    assert re.search(r"\x1b\[31mDENY 403\x1b\[0m", shown)
    assert re.search(r"\x1b\[31m✗\x1b\[0m", shown)


def test_every_policy_that_does_not_apply_is_named_or_counted() -> None:
    far = [f"policy p{number} in other{number} allow everything" for number in range(3)]
    near = "policy near in shop for app=web allow everything"
    found = explained(
        {"destination": {"namespace": "shop", "labels": {"app": "api"}}, "request": "GET /"},
        {"p.ward": "\n".join([*far, near])},
    )
    short, long = (text_of_explained(found, every=every) for every in (False, True))
    assert "  not shop/near: it is for app=web, and this has app=api\n" in short
    assert "3 policies of other namespaces do not apply, --all says why" in short
    assert "  not other1/p1: it is for the namespace other1\n" in long
    assert len(document_of_explained(found, revision="r1")["others"]) == 4


def test_of_many_rules_that_do_not_match_the_nearest_are_shown() -> None:
    rules = [f'allow to request.path in ["/{number}"] and request.method in [PUT]' for number in range(50)]
    rules[40] = 'allow to request.path in ["/40"]'
    rules.append('allow to request.path in ["/"]')
    found = explained(
        {"destination": {"namespace": "shop", "labels": {"app": "api"}}, "request": "GET /"},
        {"p.ward": f"policy p in shop {' or '.join(rules)}"},
    )
    short, long = (text_of_explained(found, every=every) for every in (False, True))
    assert short.count(" does not match (") == 20
    assert "30 more rules do not match, --all shows every one" in short
    assert "✗ shop/p#40 does not match" in short
    assert "✓ shop/p#50 matches" in short
    assert long.count(" does not match (") == 50
