"""Every code of `authz/findings/codes.py`, by the file of its name in `tests/vectors/lint`: what has it, and what has not."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from authz.findings.codes import CODES
from mesh.directory import Examined
from mesh.linting import lint
from parser.cross_checks import check_mesh
from parser.diagnostics import Diagnostic, render
from parser.fixing import fixed
from parser.manifests import parse_manifests
from tests.unit.parser.documents import marked

VECTORS = Path(__file__).parents[2] / "vectors" / "lint"
FILE = "f.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """One case. `spec` is that of the policy `web`, `others` are those of more; `also` are other codes that it has."""

    code: str
    found: bool
    says: str
    spec: str | None = None
    others: list[str] = field(default_factory=list)
    manifests: str | None = None
    mesh: Mapping[str, Any] | None = None
    at: str | None = None
    times: int = 1
    also: list[str] = field(default_factory=list)
    fixed: str | None = None

    def text(self, spec: str | None) -> str:
        specs = {"web": spec, **{f"other{number}": other for number, other in enumerate(self.others)}}
        head = "apiVersion: security.istio.io/v1, kind: AuthorizationPolicy"
        documents = [
            f"{{{head}, metadata: {{name: {name}, namespace: shop}}, spec: {written if written == '{}' else f'{{{written}}}'}}}"
            for name, written in specs.items()
            if written is not None
        ]
        documents += [] if self.mesh is None else [json.dumps(self.mesh)]
        documents += [] if self.manifests is None else [self.manifests]
        return "\n---\n".join(documents) + "\n"


def vectors() -> list[Vector]:
    read = []
    for path in sorted(VECTORS.glob("*.yaml")):
        lists = yaml.safe_load(path.read_text(encoding="utf-8"))
        for kind in ("found", "quiet"):
            read += [Vector(code=path.stem, found=kind == "found", **entry) for entry in lists[kind]]
        assert lists.keys() == {"found", "quiet"}
    return read


ALL = vectors()


def linted(text: str) -> tuple[Diagnostic, ...]:
    data = text.encode()
    manifests = parse_manifests([(FILE, data)])
    assert not manifests.errors, manifests.diagnostics
    across = check_mesh(manifests, manifests.mesh_config)
    return lint(
        Examined(
            manifests=manifests,
            config=manifests.mesh_config,
            diagnostics=(*manifests.diagnostics, *across),
            sources={},
            texts={FILE: data},
            files=1,
        )
    ).diagnostics


def case_id(vector: Vector) -> str:
    return f"{vector.code} {'found' if vector.found else 'quiet'}: {vector.says}"


@pytest.mark.parametrize("vector", ALL, ids=case_id)
def test_a_case_has_its_codes_and_no_others(vector: Vector) -> None:
    text = vector.text(vector.spec)
    found = linted(text)
    expected = Counter(vector.also)
    if vector.found:
        expected[vector.code] += vector.times
    assert Counter(each.code for each in found) == expected, "\n".join(render(each, text) for each in found)
    own = [each for each in found if each.code == vector.code]
    assert all(each.help for each in own)
    if vector.at is not None:
        assert marked(text, own[0]) == vector.at


@pytest.mark.parametrize("vector", [each for each in ALL if each.fixed is not None], ids=case_id)
def test_a_fix_writes_what_the_case_says_and_leaves_nothing_to_fix(vector: Vector) -> None:
    data = vector.text(vector.spec).encode()
    for _ in range(3):
        edits = [edit for each in linted(data.decode()) if each.code == vector.code for edit in each.fix]
        data = fixed(data, FILE, edits)
    assert data.decode() == vector.text(vector.fixed)
    assert vector.code not in {each.code for each in linted(data.decode())}


def test_every_code_has_cases_of_both_kinds() -> None:
    kinds = {(vector.code, vector.found) for vector in ALL}
    assert kinds == {(code, found) for code in CODES for found in (True, False)}


def test_every_file_says_what_its_cases_show() -> None:
    assert len({case_id(vector) for vector in ALL}) == len(ALL)
