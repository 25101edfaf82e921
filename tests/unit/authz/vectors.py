"""The vectors of `tests/vectors/authz`, read: manifests, a request, and the decision that they must lead to."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from authn.claims import as_policies_see
from authz import semantics
from authz.decision import Decision, Stage, Verdict
from authz.external import authorizers
from authz.mesh_config import MeshConfig
from authz.model import Action, Policy
from authz.peer_authentication import MtlsMode, PeerAuthentication, port_mode
from authz.selection import select
from authz.workload import Workload
from mesh.deciding import Offline, decide, decision_document
from mesh.snapshot import Snapshot
from parser.manifests import parse_manifests
from parser.request import RequestDocument, parse_request

DIRECTORY = Path(__file__).parents[2] / "vectors" / "authz"
FILES = sorted(DIRECTORY.glob("*.yaml"))


REFUSED_AT_PORT = Decision(verdict=Verdict.DENY, stage=Stage.NONE, action=None, match=None, reason="plaintext")


@dataclass(frozen=True, slots=True)
class Group:
    """Policies and the mesh they are for."""

    policies: tuple[Policy, ...]
    peer_authentications: tuple[PeerAuthentication, ...]
    config: MeshConfig
    snapshot: Snapshot

    def by_the_reference(self, document: RequestDocument, allowed_by: frozenset[str]) -> Decision:
        destination, facts = document.destination, document.attributes
        workload = Workload(namespace=destination.namespace or "", name="", labels=destination.labels or {})
        selected = select(
            self.policies,
            workload,
            root_namespace=self.config.root_namespace,
            service=destination.service,
            selectors_on_gateways=self.config.selectors_on_gateways,
        )
        mode, _ = port_mode(
            self.peer_authentications, workload, facts.destination_port, root_namespace=self.config.root_namespace
        )
        if mode is MtlsMode.STRICT and not facts.identities:
            return REFUSED_AT_PORT
        if mode is MtlsMode.DISABLE:
            facts = replace(facts, identities=())
        if facts.claims is not None:
            facts = replace(facts, claims=as_policies_see(facts.claims))
        named = frozenset(policy.provider or "" for policy in selected if policy.action is Action.CUSTOM)
        usable = authorizers(named, self.config)
        allowed = usable.passed(facts.protocol) | allowed_by & usable.asked.keys()
        return semantics.decide(selected, facts, trust_domains=self.config.trust_domains, allowed_by=allowed)


@dataclass(frozen=True, slots=True)
class Case:
    """One request, what it is to be answered, and why."""

    group: Group
    request: Mapping[str, Any]
    expect: Mapping[str, Any]
    why: str
    allowed_by: Sequence[str] = ()

    def decisions(self) -> tuple[Decision, Decision]:
        """By the reference and by the compiled tree."""
        allowed_by = frozenset(self.allowed_by)
        return (
            self.group.by_the_reference(self.document, allowed_by),
            decide(self.group.snapshot, self.document, Offline(at=0, allowed_by=allowed_by)),
        )

    @property
    def document(self) -> RequestDocument:
        destination = {"namespace": "shop"} | self.request.get("destination", {})
        return parse_request({**self.request, "destination": destination})


def _group(data: Mapping[str, Any]) -> Group:
    files = [("policies.yaml", data["policies"].encode())]
    if "mesh" in data:
        files.append(("mesh.yaml", yaml.safe_dump(data["mesh"]).encode()))
    manifests = parse_manifests(files)
    assert not manifests.errors, manifests.diagnostics
    config = replace(manifests.mesh_config or MeshConfig(), **data.get("istiod", {}))
    assert ("mesh" in data) == (manifests.mesh_config is not None)
    snapshot = Snapshot(
        policies=manifests.policies,
        peer_authentications=manifests.peer_authentications,
        workloads=(),
        config=config,
        revision="vectors",
    )
    return Group(manifests.policies, manifests.peer_authentications, config, snapshot)


def _cases(data: Mapping[str, Any]) -> Iterator[Case]:
    unknown = set(data) - {"policies", "mesh", "istiod", "cases", "mutants"}
    assert not unknown, unknown
    group = _group(data)
    for case in data.get("cases", ()):
        yield Case(group, **case)
    yield from _mutants(group, data.get("mutants", {}))


def _mutants(group: Group, mutants: Mapping[str, Mapping[str, str]]) -> Iterator[Case]:
    """Each path asked for twice: where a DENY names what it may be taken for, and where an ALLOW does."""
    for kind, paths in mutants.items():
        matched = {"matched": True, "unmatched": False}[kind]
        for path, why in paths.items():
            request = {"method": "GET", "path": path}
            deny = (
                {"verdict": "DENY", "stage": "deny", "policy": "denied/no-admin", "rule": 0}
                if matched
                else {"verdict": "ALLOW", "stage": "none"}
            )
            allow = (
                {"verdict": "ALLOW", "stage": "allow", "policy": "allowed/admin", "rule": 0}
                if matched
                else {"verdict": "DENY", "stage": "allow"}
            )
            for namespace, expect in (("denied", deny), ("allowed", allow)):
                yield Case(group, {"destination": {"namespace": namespace}, "request": request}, expect, why)


@cache
def cases(file: Path) -> tuple[Case, ...]:
    """Every case in `file`."""
    return tuple(case for data in yaml.safe_load(file.read_text(encoding="utf-8")) for case in _cases(data))


def as_expected(decision: Decision) -> dict[str, object]:
    """The decision in the words of `expect`: what is none is left out."""
    document = decision_document(decision, revision="")
    shadows = document["dry_run"]
    assert isinstance(shadows, dict)
    dry_run = {name: _given(shadow) for name, shadow in shadows.items() if shadow is not None}
    words = {name: document[name] for name in ("verdict", "stage", "policy", "rule")}
    return _given({**words, "dry_run": dry_run or None, "audit": document["audit"] or None})


def _given(words: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in words.items() if value is not None}
