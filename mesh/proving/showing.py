"""Showing: a request that was found, as people can use it: as a request document, as a command, and as a policy test."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from authz.analysis.space import Case
from authz.attributes import Protocol
from authz.decision import Decision
from authz.span import Span
from mesh.proving.ground import Witness
from mesh.proving.subjects import Subject
from mesh.snapshot import Snapshot
from mesh.testing.curl import curl_of
from mesh.testing.sent import as_sent
from parser.excerpt import visible

__all__ = ["Decided", "Expected", "Shown", "decided", "show", "test_of"]


@dataclass(frozen=True, slots=True)
class Decided:
    """What the reference decides about a request: in words, and where the rule that decides is written, if one does."""

    words: str
    place: Span | None

    def __str__(self) -> str:
        return self.words if self.place is None else f"{self.words} ({self.place})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A request: in a line, as a document, as a command (none over TCP); what is decided about it, and was if there is a before.

    It is so if the external authorizers `allowed_by` let it through, and no others.
    """

    summary: str
    document: Mapping[str, object]
    port: int | None
    curl: str | None
    decided: Decided
    before: Decided | None = None
    allowed_by: tuple[str, ...] = ()

    @property
    def json(self) -> str:
        """The document in a line of ASCII, which `meshward check --request` takes."""
        return json.dumps(self.document)


def show(witness: Witness, subject: Subject, snapshot: Snapshot, old: Snapshot | None = None) -> Shown:
    """The request, for the workload that it is to."""
    before = None if witness.before is None else decided(witness.before, old)
    return Shown(
        summary=_summary(witness.case, subject),
        document=_document(witness.case, subject, snapshot),
        port=witness.case.attributes.destination_port,
        curl=_curl(witness.case),
        decided=decided(witness.decision, snapshot),
        before=before,
        allowed_by=tuple(sorted(witness.case.allowed_by)),
    )


def decided(decision: Decision, snapshot: Snapshot | None) -> Decided:
    """A decision in words, with the place of its rule."""
    match = decision.match
    if match is None:
        return Decided(f"{decision.verdict.value}: {decision.reason}", None)
    place = None if snapshot is None else snapshot.place(match)
    return Decided(f"{decision.verdict.value} by {match.policy}#{match.rule}", place)


def _who(case: Case) -> str:
    attributes = case.attributes
    token = " with a token" if attributes.claims is not None else ""
    # Filters of the proxy may leave such things; no client can send them, and no document has them.
    metadata = f" with the dynamic metadata {json.dumps(attributes.metadata)}" if attributes.metadata else ""
    return f"{attributes.identities[0] if attributes.identities else 'plaintext'}{token}{metadata}"


def _summary(case: Case, subject: Subject) -> str:
    attributes = case.attributes
    asked = f"{attributes.method} {attributes.path}" if attributes.protocol is Protocol.HTTP else "a TCP connection"
    return f"{asked} to {subject.name}, from {_who(case)}"


def _given(**facts: object) -> dict[str, object]:
    return {name: value for name, value in facts.items() if value not in (None, {}, ())}


def _spelled_out(subject: Subject, snapshot: Snapshot) -> bool:
    """Whether the name of the workload leads to no one, or to others as well."""
    return [each.id for each in snapshot.registry].count(subject.workload.id) != 1


def _document(case: Case, subject: Subject, snapshot: Snapshot) -> dict[str, object]:
    attributes, workload, service = case.attributes, subject.workload, subject.service
    spelled_out = _spelled_out(subject, snapshot)
    kind = "serviceEntry" if service is not None and service.external else "service"
    document = _given(
        workload=None if spelled_out else workload.id,
        destination=_given(
            namespace=workload.namespace if spelled_out else None,
            labels=dict(workload.labels) if spelled_out else None,
            ip=_text(attributes.destination_ip),
            port=attributes.destination_port,
            **{kind: None if service is None else f"{service.namespace}/{service.name}"},
        ),
        source=_given(
            principal=attributes.identities[0] if attributes.identities else None,
            ip=_text(attributes.source_ip),
            remoteIp=_text(attributes.remote_ip),
        ),
        connection=_given(
            protocol="tcp" if attributes.protocol is Protocol.TCP else None,
            sni=attributes.sni,
        ),
    )
    if attributes.protocol is Protocol.HTTP:
        document["request"] = _request(case)
    if attributes.claims is not None:
        document["jwt"] = {"claims": dict(attributes.claims)}
    return document


def _request(case: Case) -> dict[str, object]:
    attributes = case.attributes
    headers = {
        name: values[0] if len(values) == 1 else list(values) for name, values in sorted(attributes.headers.items())
    }
    return _given(
        method=attributes.method,
        path=attributes.path,
        host=attributes.host,
        scheme=None if attributes.scheme == "http" else attributes.scheme,
        headers=headers,
    )


_TOKEN = "<token>"  # noqa: S105  # it stands for one


def _curl(case: Case) -> str | None:
    attributes = case.attributes
    if attributes.protocol is not Protocol.HTTP:
        return None
    sent = as_sent(attributes)
    if attributes.claims is not None:
        sent = sent.with_lines("authorization", f"Bearer {_TOKEN}")
    # What curl cannot say, for the certificate and the port are those of the proxies, stands behind it.
    return f"{curl_of(sent, token=_TOKEN)}  # from {visible(_who(case))}, to port {attributes.destination_port}"


# As a policy test -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a policy test is called, which manifests it is about, and whether its request should be allowed."""

    name: str
    policies: Sequence[str]
    allowed: bool


def test_of(expected: Expected, witness: Witness, subject: Subject, snapshot: Snapshot) -> str:
    """A file of one policy test that fails as long as the request is not decided as it should be."""
    attributes, workload, service = witness.case.attributes, subject.workload, subject.service
    caller = _given(
        spiffe=attributes.identities[0] if attributes.identities else None,
        plaintext=None if attributes.identities else True,
        ip=_text(attributes.source_ip),
        remoteIp=_text(attributes.remote_ip),
        jwt=_jwt(attributes.claims),
    )
    declared = _given(
        namespace=workload.namespace,
        labels=dict(workload.labels),
        service=None if service is None else f"{service.namespace}/{service.name}",
    )
    lines = [f"policies: {_flow(expected.policies)}"]
    to = subject.name
    if service is not None or _spelled_out(subject, snapshot):
        to = "destination"
        lines += ["workloads:", f"  {to}: {_flow(declared)}"]
    lines += [
        "callers:",
        f"  witness: {_flow(caller)}",
        "tests:",
        f"- name: {_flow(expected.name)}",
        f"  to: {_flow(to)}",
    ]
    if attributes.protocol is Protocol.HTTP:
        asked = {**_request(witness.case), **_given(port=attributes.destination_port)}
        lines.append(f"  request: {_flow(asked)}")
    else:
        connection = _given(protocol="tcp", sni=attributes.sni, port=attributes.destination_port)
        lines.append(f"  connection: {_flow(connection)}")
    if witness.case.allowed_by:
        lines.append(f"  allowedBy: {_flow(sorted(witness.case.allowed_by))}")
    lines.append(f"  allow: {_flow(['witness'] if expected.allowed else [])}")
    return "".join(f"{line}\n" for line in lines)


_REGISTERED = ("iss", "sub", "aud")


def _jwt(claims: Mapping[str, object] | None) -> dict[str, object] | None:
    if claims is None:
        return None
    own = {name: claims[name] for name in _REGISTERED if name in claims}
    return {**own, **_given(claims={name: value for name, value in claims.items() if name not in _REGISTERED})}


_BARE = re.compile(r"[A-Za-z/][-A-Za-z0-9_./]*")
_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null"})


def _flow(value: object) -> str:
    """A value as YAML in one line, which a terminal shows as it is."""
    match value:
        case Mapping():
            return "{" + ", ".join(f"{_flow(str(name))}: {_flow(each)}" for name, each in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_flow, value)) + "]"
        case str() if not (_BARE.fullmatch(value) and value.lower() not in _WORDS):
            text = json.dumps(value, ensure_ascii=False)
            return "".join(each if each.isprintable() else f"\\U{ord(each):08x}" for each in text)
        case str():
            return value
        case _:
            return json.dumps(value)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
