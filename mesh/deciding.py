"""Deciding a request document against a snapshot."""

from dataclasses import replace

from authn.claims import as_policies_see
from authz.attributes import Attributes
from authz.decision import RBAC_DENIAL, Decision, Match, Shadow, Stage, Verdict
from authz.normalization import RefusedPathError, normalize_path
from authz.peer_authentication import MtlsMode
from authz.workload import Workload
from mesh.snapshot import Snapshot
from parser.request import RequestDocument

__all__ = ["decide", "decide_as_sent", "decide_for", "decision_document"]


def decide(snapshot: Snapshot, document: RequestDocument) -> Decision:
    """The decision about one request document; the claims in it count as verified.

    A document that names a workload of one port need not say the port.

    Raises:
        UnknownWorkloadError: Its destination is not among the workloads of the snapshot, and not spelled out.
    """
    workload = _workload(snapshot, document)
    return decide_for(snapshot, workload, _completed(document.attributes, workload))


def decide_for(snapshot: Snapshot, workload: Workload, attributes: Attributes) -> Decision:
    """The decision about a request for `workload`: whether its port takes plaintext, then what the policies say.

    Where mTLS is demanded, Istio closes a plaintext connection; who is asked instead denies what comes over it.
    """
    if not attributes.identities:
        mode, by = snapshot.port_mode(workload, attributes.destination_port)
        if mode is MtlsMode.STRICT:
            reason = f"plaintext, where PeerAuthentication {by} demands mTLS"
            return Decision(verdict=Verdict.DENY, stage=Stage.NONE, action=None, match=None, reason=reason)
    return snapshot.tree(workload).decide(attributes)


def decide_as_sent(snapshot: Snapshot, document: RequestDocument) -> Decision:
    """As `decide`, for a path as the client sent it: the proxy's path normalization comes first.

    A path that the proxy refuses is denied with its 400.

    Raises:
        UnknownWorkloadError: As `decide`.
    """
    attributes = document.attributes
    if attributes.path is None:
        return decide(snapshot, document)
    try:
        path = normalize_path(attributes.path, snapshot.config.path_normalization)
    except RefusedPathError as error:
        return Decision(
            verdict=Verdict.DENY,
            stage=Stage.NONE,
            action=None,
            match=None,
            reason=str(error),
            denied_with=RBAC_DENIAL._replace(status=400, body=b""),
        )
    return decide(snapshot, replace(document, attributes=replace(attributes, path=path)))


def _workload(snapshot: Snapshot, document: RequestDocument) -> Workload:
    destination = document.destination
    if destination.namespace is not None:
        return Workload(namespace=destination.namespace, name="", labels=destination.labels or {})
    return snapshot.find(workload=destination.workload, principal=destination.principal, address=destination.address)


def _completed(attributes: Attributes, workload: Workload) -> Attributes:
    """The facts, with the claims as policies see them, and the port of a workload that has just one."""
    if attributes.claims is not None:
        attributes = replace(attributes, claims=as_policies_see(attributes.claims))
    if attributes.destination_port is None and len(workload.ports) == 1:
        attributes = replace(attributes, destination_port=workload.ports[0])
    return attributes


def decision_document(decision: Decision, *, revision: str) -> dict[str, object]:
    """The decision as plain data, in the words that `check -o json`, the decision log and policy tests share."""
    return {
        "verdict": decision.verdict.value,
        "status": decision.status,
        "stage": decision.stage.value,
        "action": None if decision.action is None else decision.action.value,
        "policy": None if decision.match is None else decision.match.policy,
        "rule": None if decision.match is None else decision.match.rule,
        "reason": decision.reason,
        "dry_run": {"deny": _shadow(decision.shadow_deny), "allow": _shadow(decision.shadow_allow)},
        "audit": decision.audit,
        "revision": revision,
    }


def _shadow(shadow: Shadow | None) -> dict[str, object] | None:
    if shadow is None:
        return None
    match = shadow.match or Match("", 0)
    return {
        "verdict": shadow.verdict.value,
        "policy": match.policy if shadow.match else None,
        "rule": match.rule if shadow.match else None,
    }
