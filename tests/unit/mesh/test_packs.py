"""The packs do what they promise, are clean, and are copied whole."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from authz.decision import Verdict
from mesh.deciding import Offline, decide
from mesh.directory import DirectoryStore
from mesh.packs import PackError, copy_pack, packs
from mesh.snapshot import Snapshot
from parser.request import parse_request

TABLE: dict[str, list[tuple[str, str, str, str]]] = yaml.safe_load(Path(__file__).with_name("packs.yaml").read_text())
TOKENS: dict[str, dict[str, Any]] = {
    "alice": {"iss": "https://idp.example.com", "sub": "alice", "aud": ["shop", "app"]},
    "buyer": {"iss": "https://idp.example.com", "sub": "bob", "aud": ["shop"], "groups": ["buyer"]},
    "admin": {"iss": "https://idp.example.com", "sub": "root", "aud": ["app"], "groups": ["staff", "admin"]},
}


@cache
def snapshot(pack: str) -> Snapshot:
    return DirectoryStore((str(packs()[pack].directory),), None, {}).load().snapshot


def document(workload: str, who: str, what: str) -> dict[str, Any]:
    found: dict[str, Any] = {"workload": workload, "source": {"ip": "10.0.0.1"}}
    if who in TOKENS:
        # A token is shown over mTLS, but to a gateway.
        found["jwt"] = {"claims": TOKENS[who]}
        who = "plaintext" if workload.startswith("edge/") else "shop/web"
    if who != "plaintext":
        namespace, _, rest = who.partition("/")
        name = who if "/ns/" in rest or rest.startswith("ns/") else f"cluster.local/ns/{namespace}/sa/{rest}"
        found["source"]["principal"] = f"spiffe://{name}"
    method, first, *more = what.split()
    if method == "TCP":
        found["connection"] = {"protocol": "tcp", **({"sni": more[0]} if more else {})}
        found["destination"] = {"port": int(first)}
        return found
    host, path = re.fullmatch(r"([^/]*)(/.*)", first).groups()  # type: ignore[union-attr]  # a row is written so
    found["request"] = {"method": method, "path": path, "host": host or "api.shop"}
    if more:
        found["destination"] = {"port": int(more[0])}
    return found


ROWS = [pytest.param(pack, *row, id=f"{pack}: {' '.join(row)}") for pack, rows in TABLE.items() for row in rows]


@pytest.mark.parametrize(("pack", "workload", "who", "what", "by"), ROWS)
def test_a_pack_decides_as_it_promises(pack: str, workload: str, who: str, what: str, by: str) -> None:
    decision = decide(snapshot(pack), parse_request(document(workload, who, what)), Offline(at=0))
    assert (decision.verdict is Verdict.DENY) is by.startswith("!")
    match = decision.match
    assert (f"{match.policy}#{match.rule}" if match else "") == by.removeprefix("!")


def test_what_a_canary_would_deny_is_told() -> None:
    request = document("shop/api", "shop/web", "DELETE /items/7")
    shadow = decide(snapshot("dry-run-canary"), parse_request(request), Offline(at=0)).shadow_deny
    assert shadow is not None
    assert (shadow.verdict, shadow.match) == (Verdict.DENY, ("shop/writing-for-checkout", 0))


def test_every_pack_is_in_the_table() -> None:
    assert TABLE.keys() == packs().keys()


@pytest.mark.parametrize("pack", TABLE)
def test_a_pack_is_clean_and_tested(pack: str) -> None:
    directory = packs()[pack].directory
    examined = DirectoryStore((str(directory),), None, {}).examine()
    assert examined.diagnostics == ()  # not even a warning
    assert not examined.manifests.skipped.keys() - {"ConfigMap", "Service"}
    (test,) = directory.glob("*.authz-test.yaml")
    said = yaml.safe_load(test.read_text())
    assert said["coverage"] == {"rules": 100}
    covered = {each["because"] for each in said["tests"] if "because" in each}
    rules = {
        f"{policy.id}#{n}" for policy in snapshot(pack).policies for n in range(len(policy.rules)) if not policy.dry_run
    }
    assert rules == covered


@pytest.mark.parametrize("pack", TABLE)
def test_what_a_readme_speaks_of_is_there(pack: str) -> None:
    directory = packs()[pack].directory
    readme = (directory / "README.md").read_text()
    assert readme.startswith(f"# {pack}\n")
    named = set(re.findall(r"`([\w.-]+\.yaml)`", readme))
    assert named
    assert named <= {file.name for file in directory.iterdir()}


def test_a_pack_is_copied_whole(tmp_path: Path) -> None:
    pack = packs()["grpc-methods"]
    copies = copy_pack(pack, tmp_path / "a/b")
    assert {each.name: each.read_bytes() for each in copies} == {
        each.name: each.read_bytes() for each in pack.directory.iterdir()
    }


def test_a_pack_is_not_mixed_with_anything(tmp_path: Path) -> None:
    pack = packs()["grpc-methods"]
    file = tmp_path / "notes"
    file.write_text("mine")
    with pytest.raises(PackError, match="has files in it"):
        copy_pack(pack, tmp_path)
    with pytest.raises(PackError, match="is no directory"):
        copy_pack(pack, file)
    assert [each.name for each in tmp_path.iterdir()] == ["notes"]
    assert file.read_text() == "mine"
    with pytest.raises(PackError, match=r"cannot write .*/notes/below: Not a directory"):
        copy_pack(pack, file / "below")


def test_every_pack_is_on_its_page() -> None:
    page = (Path(__file__).parents[3] / "docs/packs.md").read_text()
    assert set(re.findall(r"^\| \[([\w-]+)\]\(\.\./policies/\1\)", page, flags=re.MULTILINE)) == packs().keys()
