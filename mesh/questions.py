"""Questions about all requests to a workload: its policies as formulas, and cases decided again before anybody sees them."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from authn.claims import as_policies_see
from authz import semantics
from authz.analysis.access import Guarding
from authz.analysis.space import Case
from authz.decision import Decision, Stage, Verdict
from authz.model import Action
from authz.peer_authentication import MtlsMode
from authz.request_authentication import JwtRule
from authz.selection import select
from authz.workload import ServiceRef, Workload
from mesh.snapshot import Snapshot

__all__ = ["decide_again", "guarding_of"]


def guarding_of(snapshot: Snapshot, workload: Workload, service: ServiceRef | None = None) -> Guarding:
    """What stands before a workload, as the analysis takes it."""
    guard = snapshot.guard(workload, service)
    policies = select(
        snapshot.policies,
        workload,
        root_namespace=snapshot.config.root_namespace,
        service=service,
        selectors_on_gateways=snapshot.config.selectors_on_gateways,
    )
    return Guarding(
        policies=policies,
        issuers=_issuers(guard.jwt_rules),
        authorizers=guard.authorizers,
        modes=guard.modes,
        trust_domains=snapshot.config.trust_domains,
    )


def _issuers(rules: Iterable[JwtRule]) -> Mapping[str, tuple[str, ...]]:
    """Each issuer with the audiences of which a token of its must have one; none where some rule asks for none."""
    found: dict[str, tuple[str, ...]] = {}
    for rule in rules:
        if rule.issuer not in found:
            found[rule.issuer] = rule.audiences
        elif found[rule.issuer]:
            found[rule.issuer] = (*found[rule.issuer], *rule.audiences) if rule.audiences else ()
    return found


def decide_again(guarding: Guarding, case: Case) -> Decision:
    """What the reference decides about a case: a second opinion, by other code than what has found it."""
    attributes = case.attributes
    mode = guarding.modes.get(attributes.destination_port) or guarding.modes[None]
    if not attributes.identities and mode.mode is MtlsMode.STRICT:
        return _denied(f"plaintext, where PeerAuthentication {mode.by} demands mTLS", Stage.NONE)
    if mode.mode is MtlsMode.DISABLE:
        attributes = replace(attributes, identities=())
    claims = attributes.claims
    if claims is not None and not guarding.issuers:
        attributes, claims = replace(attributes, claims=None), None
    if claims is not None:
        meant = guarding.issuers.get(str(claims.get("iss")))
        audience = claims.get("aud")
        shown = [audience] if isinstance(audience, str) else list(audience) if isinstance(audience, list) else []
        if meant is None or (meant and not set(meant) & set(shown)):
            return _denied("no RequestAuthentication takes the token", Stage.JWT)
        attributes = replace(attributes, claims=as_policies_see(claims))
    named = {policy.provider or "" for policy in guarding.policies if policy.action is Action.CUSTOM}
    asked = case.allowed_by & guarding.authorizers.asked.keys()
    allowed_by = named & (asked | guarding.authorizers.passed(attributes.protocol))
    return semantics.decide(
        guarding.policies, attributes, trust_domains=guarding.trust_domains, allowed_by=frozenset(allowed_by)
    )


def _denied(reason: str, stage: Stage) -> Decision:
    return Decision(verdict=Verdict.DENY, stage=stage, action=None, match=None, reason=reason)
