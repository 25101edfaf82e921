"""Deciding a request document against a snapshot."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from authn import KeySets, StaticKeys, UnauthenticatedError, authenticate
from authn.claims import as_policies_see
from authn.verified_tokens import VerifiedTokens
from authz.attributes import Attributes
from authz.decision import RBAC_DENIAL, Decision, Denial, Match, Shadow, Stage, Trigger, Verdict
from authz.normalization import RefusedPathError, normalize_path
from authz.peer_authentication import MtlsMode, PortMode
from authz.remote_address import remote_address
from authz.tree import DecisionTree
from authz.workload import Workload
from mesh.snapshot import Guard, Snapshot
from parser.request import RequestDocument

__all__ = [
    "Offline",
    "TreeDecides",
    "as_seen",
    "decide",
    "decide_as_sent",
    "decision_document",
    "destination_of",
    "only_port",
    "refused_at_port",
    "refused_path",
    "unasked",
    "unauthenticated",
    "with_identity",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offline:
    """What stands in for a network: the time, in seconds since 1970, the keys for tokens, and what authorizers would say.

    The external authorizers `allowed_by` are taken to let every request through, and the others to refuse. `remembered` saves
    verifying the same tokens again, and makes no other difference.
    """

    at: float
    key_sets: KeySets = field(default_factory=lambda: StaticKeys().key_set)
    allowed_by: frozenset[str] = frozenset()
    remembered: VerifiedTokens | None = None


# Reading a member off its class costs as much as reading a fact.
_STRICT, _DISABLE = MtlsMode.STRICT, MtlsMode.DISABLE


class TreeDecides(Protocol):
    """How a tree is asked. Another way than its own is for who wants to see how it decides."""

    def __call__(self, tree: DecisionTree, attributes: Attributes, /, *, allowed_by: frozenset[str]) -> Decision:
        """The tree's decision."""


def decide(
    snapshot: Snapshot, document: RequestDocument, offline: Offline, tree_decides: TreeDecides = DecisionTree.decide
) -> Decision:
    """The decision about one request document, without a network.

    Claims in the document count as verified; without them the tokens that it carries are verified. A document that names a
    workload of one port need not say the port.

    Raises:
        UnknownWorkloadError: Its destination is not among the workloads of the snapshot, and not spelled out.
    """
    workload = destination_of(snapshot, document)
    guard = snapshot.guard(workload, document.destination.service)
    attributes = document.attributes
    port, identities, claims = attributes.destination_port, attributes.identities, attributes.claims
    if port is None:
        port = only_port(workload)
    mode = guard.mode(port)
    if not identities and mode.mode is _STRICT:
        return _plaintext(mode)
    if mode.mode is _DISABLE:
        identities = ()
    providers = guard.tree.providers
    if providers:
        # Before tokens are looked at, claims are to be as the document has them.
        attributes = _with(attributes, port, identities, claims)
        allowed = guard.authorizers.passed(attributes.protocol) | offline.allowed_by & guard.authorizers.asked.keys()
        for trigger in guard.tree.triggered(attributes):
            if trigger.provider not in allowed:
                decision = tree_decides(guard.tree, attributes, allowed_by=allowed)
                return decision if trigger.provider in guard.authorizers.asked else unasked(decision, trigger, guard)
    if claims is not None:
        claims = as_policies_see(claims)
    attributes = _with(attributes, port, identities, claims)
    if claims is None and guard.jwt_rules:
        try:
            attributes = authenticate(
                guard.jwt_rules,
                attributes,
                key_sets=offline.key_sets,
                at=offline.at,
                remembered=offline.remembered,
            ).applied_to(attributes)
        except UnauthenticatedError as error:
            return unauthenticated(error)
    return tree_decides(guard.tree, attributes, allowed_by=providers)


def only_port(workload: Workload) -> int | None:
    """The port that a request is for if it does not say; none where the workload has several."""
    return workload.ports[0] if len(workload.ports) == 1 else None


def _with(
    attributes: Attributes, port: int | None, identities: tuple[str, ...], claims: Mapping[str, object] | None
) -> Attributes:
    """The facts with these three, made once and without asking the class for its fields, which costs more than deciding."""
    if port == attributes.destination_port and identities is attributes.identities and claims is attributes.claims:
        return attributes
    return Attributes(
        protocol=attributes.protocol,
        identities=identities,
        source_ip=attributes.source_ip,
        remote_ip=attributes.remote_ip,
        destination_ip=attributes.destination_ip,
        destination_port=port,
        sni=attributes.sni,
        method=attributes.method,
        path=attributes.path,
        host=attributes.host,
        scheme=attributes.scheme,
        headers=attributes.headers,
        claims=claims,
        metadata=attributes.metadata,
    )


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
    mode = guard.mode(attributes.destination_port)
    return _plaintext(mode) if mode.mode is _STRICT else None


def _plaintext(mode: PortMode) -> Decision:
    return _denied(f"plaintext, where PeerAuthentication {mode.by} demands mTLS")


def refused_path(error: RefusedPathError) -> Decision:
    """The denial of a request whose path the proxy refuses before it asks anybody."""
    return _denied(str(error), Denial(400, b""))


def with_identity(guard: Guard, attributes: Attributes) -> Attributes:
    """The facts without the caller's identity where mTLS is switched off: there Istio's proxy looks at no certificate."""
    if attributes.identities and guard.mode(attributes.destination_port).mode is _DISABLE:
        return replace(attributes, identities=())
    return attributes


def _denied(reason: str, denial: Denial = RBAC_DENIAL) -> Decision:
    return Decision(verdict=Verdict.DENY, stage=Stage.NONE, action=None, match=None, reason=reason, denied_with=denial)


def decide_as_sent(snapshot: Snapshot, document: RequestDocument, offline: Offline) -> Decision:
    """As `decide`, for a request as the client sent it. A path that the proxy refuses is denied with its 400.

    Raises:
        UnknownWorkloadError: As `decide`.
    """
    try:
        return decide(snapshot, as_seen(snapshot, document), offline)
    except RefusedPathError as error:
        return refused_path(error)


def as_seen(snapshot: Snapshot, document: RequestDocument) -> RequestDocument:
    """What the proxy makes of a request as the client sent it: of its path, and of its address.

    The remote address is found in `x-forwarded-for` as the destination's kind of proxy does it.

    Raises:
        RefusedPathError: The proxy refuses the path.
        UnknownWorkloadError: As `decide`.
    """
    attributes = document.attributes
    config = snapshot.config
    remote = attributes.remote_ip
    if (forwarded_for := attributes.headers.get("x-forwarded-for")) is not None:
        proxy = destination_of(snapshot, document).proxy
        remote = remote_address(forwarded_for, attributes.source_ip, proxy, trusted_proxies=config.trusted_proxies)
    path = None if attributes.path is None else normalize_path(attributes.path, config.path_normalization)
    return replace(document, attributes=replace(attributes, path=path, remote_ip=remote))


def destination_of(snapshot: Snapshot, document: RequestDocument) -> Workload:
    """The workload that a request is for.

    Raises:
        UnknownWorkloadError: As `decide`.
    """
    destination = document.destination
    if destination.namespace is not None:
        return Workload(namespace=destination.namespace, name="", labels=destination.labels or {})
    return snapshot.find(workload=destination.workload, principal=destination.principal, address=destination.address)


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
