"""Deciding a request document against a snapshot."""

from dataclasses import dataclass, field, replace

from authn import KeySets, StaticKeys, UnauthenticatedError, authenticate
from authn.claims import as_policies_see
from authz.attributes import Attributes
from authz.decision import RBAC_DENIAL, Decision, Denial, Match, Shadow, Stage, Trigger, Verdict
from authz.normalization import RefusedPathError, normalize_path
from authz.peer_authentication import MtlsMode
from authz.remote_address import remote_address
from authz.workload import Workload
from mesh.snapshot import Guard, Snapshot
from parser.request import RequestDocument

__all__ = [
    "Offline",
    "decide",
    "decide_as_sent",
    "decision_document",
    "refused_at_port",
    "unasked",
    "unauthenticated",
    "with_identity",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offline:
    """What stands in for a network: the time, in seconds since 1970, the keys for tokens, and what authorizers would say.

    The external authorizers `allowed_by` are taken to let every request through, and the others to refuse.
    """

    at: float
    key_sets: KeySets = field(default_factory=lambda: StaticKeys().key_set)
    allowed_by: frozenset[str] = frozenset()


def decide(snapshot: Snapshot, document: RequestDocument, offline: Offline) -> Decision:
    """The decision about one request document, without a network.

    Claims in the document count as verified; without them the tokens that it carries are verified. A document that names a
    workload of one port need not say the port.

    Raises:
        UnknownWorkloadError: Its destination is not among the workloads of the snapshot, and not spelled out.
    """
    workload = _workload(snapshot, document)
    guard = snapshot.guard(workload, document.destination.service)
    attributes = _with_port(document.attributes, workload)
    if (refused := refused_at_port(guard, attributes)) is not None:
        return refused
    attributes = with_identity(guard, attributes)
    allowed = guard.authorizers.passed(attributes.protocol) | offline.allowed_by & guard.authorizers.asked.keys()
    for trigger in guard.tree.triggered(attributes):
        if trigger.provider not in allowed:
            decision = guard.tree.decide(attributes, allowed_by=allowed)
            return decision if trigger.provider in guard.authorizers.asked else unasked(decision, trigger, guard)
    if attributes.claims is not None:
        attributes = replace(attributes, claims=as_policies_see(attributes.claims))
    elif guard.jwt_rules:
        try:
            attributes = authenticate(guard.jwt_rules, attributes, key_sets=offline.key_sets, at=offline.at).applied_to(
                attributes
            )
        except UnauthenticatedError as error:
            return unauthenticated(error)
    return guard.tree.decide(attributes, allowed_by=guard.tree.providers)


def unasked(decision: Decision, trigger: Trigger, guard: Guard) -> Decision:
    """The denial for want of an authorizer that cannot be asked, saying which and why."""
    return replace(decision, reason=f"{decision.reason}: {guard.authorizers.why_not(trigger.provider)}")


def unauthenticated(error: UnauthenticatedError) -> Decision:
    """The denial of a request whose token is not good."""
    return Decision(
        verdict=Verdict.DENY,
        stage=Stage.JWT,
        action=None,
        match=None,
        reason=f"{error.status.value}: {error.reason}",
        denied_with=error.denial,
    )


def refused_at_port(guard: Guard, attributes: Attributes) -> Decision | None:
    """The denial of plaintext where mTLS is demanded; nothing where the port takes what comes.

    Istio closes such a connection; who is asked instead denies what comes over it.
    """
    if attributes.identities:
        return None
    mode, by = guard.mode(attributes.destination_port)
    return _denied(f"plaintext, where PeerAuthentication {by} demands mTLS") if mode is MtlsMode.STRICT else None


def with_identity(guard: Guard, attributes: Attributes) -> Attributes:
    """The facts without the caller's identity where mTLS is switched off: there Istio's proxy looks at no certificate."""
    if attributes.identities and guard.mode(attributes.destination_port).mode is MtlsMode.DISABLE:
        return replace(attributes, identities=())
    return attributes


def _denied(reason: str, denial: Denial = RBAC_DENIAL) -> Decision:
    return Decision(verdict=Verdict.DENY, stage=Stage.NONE, action=None, match=None, reason=reason, denied_with=denial)


def decide_as_sent(snapshot: Snapshot, document: RequestDocument, offline: Offline) -> Decision:
    """As `decide`, for a request as the client sent it: what the proxy makes of its path and of its address comes first.

    A path that the proxy refuses is denied with its 400. The remote address is found in `x-forwarded-for` as the destination's
    kind of proxy does it.

    Raises:
        UnknownWorkloadError: As `decide`.
    """
    attributes = document.attributes
    config = snapshot.config
    remote = attributes.remote_ip
    if (forwarded_for := attributes.headers.get("x-forwarded-for")) is not None:
        proxy = _workload(snapshot, document).proxy
        remote = remote_address(forwarded_for, attributes.source_ip, proxy, trusted_proxies=config.trusted_proxies)
    try:
        path = None if attributes.path is None else normalize_path(attributes.path, config.path_normalization)
    except RefusedPathError as error:
        return _denied(str(error), Denial(400, b""))
    as_seen = replace(attributes, path=path, remote_ip=remote)
    return decide(snapshot, replace(document, attributes=as_seen), offline)


def _workload(snapshot: Snapshot, document: RequestDocument) -> Workload:
    destination = document.destination
    if destination.namespace is not None:
        return Workload(namespace=destination.namespace, name="", labels=destination.labels or {})
    return snapshot.find(workload=destination.workload, principal=destination.principal, address=destination.address)


def _with_port(attributes: Attributes, workload: Workload) -> Attributes:
    """The facts, with the port of a workload that has just one."""
    if attributes.destination_port is None and len(workload.ports) == 1:
        return replace(attributes, destination_port=workload.ports[0])
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
