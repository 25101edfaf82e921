"""Vectors: one question and the policies it is about, as a file that a person can read and a run can repeat."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import yaml

from authz.mesh_config import PathNormalization
from demo.sidecar import Json
from parser.manifests import parse_manifests
from tests.differential.cases import Caller, Case, Connection, Http, HttpVersion, Mesh, Question, Tcp

__all__ = ["DIRECTORY", "Vector", "kept", "read", "save", "text"]

DIRECTORY = Path(__file__).with_name("disagreements")
"""Where the vectors are that the two sides once disagreed on."""


class Vector(NamedTuple):
    """A case and the mesh it was found in."""

    mesh: Mesh
    case: Case


def kept() -> list[Vector]:
    """Every vector in `DIRECTORY`."""
    return [read(path.read_text()) for path in sorted(DIRECTORY.glob("*.yaml"))]


def save(vector: Vector) -> Path:
    """Write `vector` into `DIRECTORY`, under a name that is the same for the same vector."""
    written = text(vector)
    path = DIRECTORY / f"{hashlib.sha256(written.encode()).hexdigest()[:12]}.yaml"
    path.write_text(written)
    return path


def text(vector: Vector) -> str:
    """The vector as YAML; what is as by default is left out."""
    document: Json = {
        "mesh": _given(vector.mesh),
        "policies": vector.case.documents(),
        "questions": [{_KINDS[type(question)]: _given(question)} for question in vector.case.questions],
    }
    return yaml.dump(document, Dumper=_WithoutAnchors, sort_keys=False, allow_unicode=True, width=120)


class _WithoutAnchors(yaml.SafeDumper):
    """Writes a value out as often as it is there."""

    def ignore_aliases(self, data: object) -> bool:
        del data
        return True


def read(text: str) -> Vector:
    """The vector that `text` writes.

    Raises:
        AssertionError: The parser does not take its policies.
    """
    document = yaml.safe_load(text)
    # As JSON: two libraries for YAML may differ on what is a number.
    policies = b"\n---\n".join(map(orjson.dumps, document["policies"]))
    manifests = parse_manifests([("vector.yaml", policies)])
    assert not manifests.errors, manifests.diagnostics
    questions = [_question(kind, given) for entry in document["questions"] for kind, given in entry.items()]
    case = Case(
        policies=manifests.policies,
        questions=tuple(questions),
        authentications=manifests.request_authentications,
    )
    return Vector(_mesh(document["mesh"]), case)


_KINDS: Mapping[type, str] = {Http: "http", Tcp: "tcp"}


def _given(value: Any) -> Json:
    """The fields of a dataclass that are not as by default."""
    default = type(value)()
    written = {field.name: getattr(value, field.name) for field in fields(value)}
    return {name: _plain(own) for name, own in written.items() if own != getattr(default, name)}


def _plain(value: Any) -> object:
    match value:
        case Enum():
            return value.value
        case tuple() | list():
            return [_plain(each) for each in value]
        case Mapping():
            return {name: _plain(each) for name, each in value.items()}
        case _ if is_dataclass(value):
            return _given(value)
        case _:
            return value


def _mesh(given: Mapping[str, Any]) -> Mesh:
    default = Mesh()
    return Mesh(
        trust_domains=tuple(given.get("trust_domains", default.trust_domains)),
        normalization=PathNormalization(given.get("normalization", default.normalization)),
        trusted_proxies=given.get("trusted_proxies"),
    )


def _question(kind: str, given: Mapping[str, Any]) -> Question:
    facts = dict(given)
    facts["connection"] = _connection(facts.get("connection", {}))
    if kind == "tcp":
        return Tcp(**facts)
    facts["version"] = HttpVersion(facts.get("version", HttpVersion.HTTP_1))
    facts["headers"] = tuple(_pairs(facts.get("headers", ())))
    return Http(**facts)


def _connection(given: Mapping[str, Any]) -> Connection:
    facts = dict(given)
    if (caller := facts.get("caller")) is not None:
        facts["caller"] = Caller(
            uris=tuple(caller.get("uris", ())),
            dns=tuple(caller.get("dns", ())),
            subject=tuple(_pairs(caller.get("subject", ()))),
        )
    return Connection(**facts)


def _pairs(given: Iterable[Sequence[str]]) -> Iterator[tuple[str, str]]:
    return ((name, value) for name, value in given)
