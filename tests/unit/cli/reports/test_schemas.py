"""What verbs write for other programs is what those programs read, whatever the policies, the tests and the file names hold."""

import argparse
import json
import sys
from pathlib import Path

import pytest

from cli.main import main, whole_parser
from tests.unit.cli.reports.schemas import junit_in, picture_in, sarif_in

HOSTILE = "]]>\x00\x08\x1b[31m\x7f\x85\u202e\ufffe\ufeff <b>&amp;\"'`|\\ \U0001f600\U0010ffff"
"""What XML forbids, what ends its sections, what is markup, what a terminal obeys, and what is no character at all."""
MARKUP = "]]> <b>&amp;\"'"
"""As far as a request can hold it, which no difference is without."""
LONG = "x" * 100_000
FOLDER = "]]> <b>&\x01\u202e'"
"""What a folder may be called."""

NAMED = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: shop}
spec:
  template:
    metadata: {labels: {app: api}}
    spec: {serviceAccountName: api, containers: [{name: api, ports: [{containerPort: 8080}]}]}
---
"""


def policy(*values: str, action: str = "ALLOW") -> str:
    """A policy of three rules, of which the first asks for one of these values, and the last is there twice."""
    rule = {"to": [{"operation": {"paths": ["/a"], "methods": ["GET", "GET"]}}]}
    asked = {"when": [{"key": "request.headers[x-role]", "values": list(values)}]}
    spec = {"selector": {"matchLabels": {"app": "api"}}, "action": action, "rules": [asked, rule, rule]}
    metadata = {"name": "p", "namespace": "shop"}
    document = {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": metadata, "spec": spec}
    return NAMED + _yaml(document)


def _yaml(document: object) -> str:
    """JSON, which YAML is, too, but for the escapes in two halves of what is beyond the first 65,536 characters."""
    text = json.dumps(document, ensure_ascii=False)
    return "".join(c if c.isascii() and c.isprintable() else f"\\U{ord(c):08x}" for c in text).replace(
        "\\u0", "\\U00000"
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a hostile name, with policies, tests and invariants in it."""
    folder = tmp_path / FOLDER
    folder.mkdir()
    (folder / "odd.yaml").write_text(policy(MARKUP, HOSTILE, HOSTILE + LONG, HOSTILE))
    (folder / "new.yaml").write_text(policy("another"))
    (folder / "wrong.yaml").write_text(policy(HOSTILE, action=HOSTILE) + f"---\n{policy(LONG, action=LONG)}")
    request = {"method": "GET", "path": "/b", "headers": {"x-role": HOSTILE}}
    case = {"to": "api", "request": request, "name": HOSTILE + LONG}
    tests = {
        "policies": ["odd.yaml"],
        "workloads": {"api": {"namespace": "shop", "labels": {"app": "api"}, "port": 8080}},
        "callers": {"web": {"serviceAccount": "shop/web"}},
        "tests": [{**case, "allow": ["web"]}, {**case, "name": f"wrong {HOSTILE}", "from": ["web"], "allow": []}],
        "coverage": {"rules": 100},
    }
    (folder / "t.authz-test.yaml").write_text(_yaml(tests))
    (folder / "u.authz-test.yaml").write_text("tests: {}")
    never = {"to": {"workload": "shop/api", "paths": ["/a"]}}
    claims = {
        "policies": ["odd.yaml"],
        "invariants": [
            {"id": "HOLDS-1", "because": HOSTILE, "never": {"to": {"workload": "shop/api", "paths": ["/z"], "methods": ["PUT"]}, "from": {"namespaces": ["x"]}}},
            {"id": "BROKEN-1", "because": HOSTILE + LONG, "never": never},
        ],
    }  # fmt: skip
    (folder / "c.authz-proof.yaml").write_text(_yaml(claims))
    monkeypatch.chdir(tmp_path)
    return Path(FOLDER)


LINES = {
    "junit": ["lint odd.yaml", "lint odd.yaml --strict", "lint wrong.yaml", "test .", "prove c.authz-proof.yaml"],
    "sarif": ["lint odd.yaml", "lint wrong.yaml", "prove c.authz-proof.yaml"],
    "svg": ["show odd.yaml --matrix", "show odd.yaml --graph", "show odd.yaml --tree", "diff new.yaml odd.yaml"],
}
"""Command lines of every verb that writes the format, without the folder that their files are in."""


def written(line: str, form: str, folder: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> bytes:
    words = [str(folder / word) if "." in word else word for word in line.split()]
    code = main([*words, "-o", form])
    sys.stdout.flush()
    out, err = capfdbinary.readouterr()
    assert code != 1, err
    return out


@pytest.mark.parametrize("form", LINES)
def test_every_verb_that_writes_the_format_is_among_those_looked_at(form: str) -> None:
    assert {line.split()[0] for line in LINES[form]} == set(_offering(whole_parser(), form))


def _offering(parser: argparse.ArgumentParser, form: str) -> list[str]:
    (verbs,) = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    found = []
    for name, verb in verbs.choices.items():
        actions = verb._actions
        if any(each.dest == "output" and form in (each.choices or ()) for each in actions):
            found.append(name)
        if any(isinstance(each, argparse._SubParsersAction) for each in actions):
            found += [f"{name} {below}" for below in _offering(verb, form)]
    return found


@pytest.mark.parametrize("line", LINES["junit"])
def test_junit_is_what_the_schema_says(line: str, folder: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    root = junit_in(written(line, "junit", folder, capfdbinary))
    cases = list(root.iter("testcase"))
    assert cases
    for name, counted in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        assert int(str(root.get(counted))) == sum(case.find(name) is not None for case in cases)
    assert int(str(root.get("tests"))) == len(cases)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("lint odd.yaml", "system-out"),
        ("lint odd.yaml --strict", "failure"),
        ("lint wrong.yaml", "failure"),
        ("test .", "failure"),
        ("test .", "error"),
        ("prove c.authz-proof.yaml", "failure"),
    ],
)
def test_what_is_held_to_the_schema_has_findings_in_it(
    line: str, found: str, folder: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert junit_in(written(line, "junit", folder, capfdbinary)).find(f".//{found}") is not None


@pytest.mark.parametrize("line", LINES["sarif"])
def test_sarif_is_what_the_schema_says(line: str, folder: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    (run,) = sarif_in(written(line, "sarif", folder, capfdbinary))["runs"]
    assert run["results"]


@pytest.mark.parametrize("line", LINES["sarif"])
def test_every_rule_leads_to_a_page_that_tells_of_it(
    line: str, folder: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (run,) = sarif_in(written(line, "sarif", folder, capfdbinary))["runs"]
    for rule in run["tool"]["driver"]["rules"]:
        said = rule["help"]
        assert said["text"] == said["markdown"]
        (page,) = [word.strip(",") for word in said["text"].split() if word.startswith("docs/")]
        text = (Path(__file__).parents[4] / page).read_text(encoding="utf-8")
        assert rule["id"] in text or page == "docs/prove.md"


@pytest.mark.parametrize("line", LINES["svg"])
def test_a_picture_is_svg(line: str, folder: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    root = picture_in(written(line, "svg", folder, capfdbinary))
    said = "".join(root.itertext())
    # A graph says who may call whom, and not what for.
    assert "]]>" in said or "--graph" in line
