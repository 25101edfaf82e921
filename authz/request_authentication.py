"""RequestAuthentication: whose tokens a workload takes, and where it looks for them (semantics 4)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from authz.model import TargetRef
from authz.selection import select
from authz.span import Path, Span
from authz.workload import ServiceRef, Workload

__all__ = ["ClaimToHeader", "JwtRule", "Presence", "RequestAuthentication", "TokenHeader", "jwt_rules"]


class Presence(Enum):
    """Whether a request must have a token. Istio accepts the field and does not act on it yet (4.9)."""

    OPTIONAL = "OPTIONAL"
    REQUIRED = "REQUIRED"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenHeader:
    """A header that may carry a token, behind `prefix` where that is not empty."""

    name: str
    prefix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimToHeader:
    """A claim of the verified token that goes on as a header; the names of nested claims are joined with dots."""

    header: str
    claim: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtRule:
    """One issuer whose tokens are taken. Empty is not given.

    `jwks` is a JWK Set as text; without it and without `jwks_uri` the keys are found by OIDC discovery at the issuer.
    `timeout` bounds the fetch, in seconds. Spans of its policy lead here by `spec`, `jwtRules`, its index.
    """

    issuer: str = ""
    audiences: tuple[str, ...] = ()
    jwks_uri: str = ""
    jwks: str = ""
    from_headers: tuple[TokenHeader, ...] = ()
    from_params: tuple[str, ...] = ()
    from_cookies: tuple[str, ...] = ()
    forward_original_token: bool = False
    output_payload_to_header: str = ""
    output_claim_to_headers: tuple[ClaimToHeader, ...] = ()
    space_delimited_claims: tuple[str, ...] = ()
    timeout: float = 5.0
    presence: Presence = Presence.OPTIONAL


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestAuthentication:
    """One RequestAuthentication. `created` is its creationTimestamp as written, empty where the document has none."""

    namespace: str
    name: str
    created: str = ""
    selector: Mapping[str, str] | None = None
    target_refs: tuple[TargetRef, ...] = ()
    jwt_rules: tuple[JwtRule, ...] = ()
    spans: Mapping[Path, Span] = field(default_factory=dict, compare=False, repr=False)

    @property
    def id(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"


def jwt_rules(
    policies: Iterable[RequestAuthentication],
    workload: Workload,
    *,
    root_namespace: str,
    service: ServiceRef | None = None,
    selectors_on_gateways: bool = True,
) -> tuple[JwtRule, ...]:
    """The rules that apply to `workload`, in the order in which their providers are tried (4.1).

    By issuer; among those of one issuer first the workload's own namespace, then the root, then the service's, each by age.
    """
    places = {root_namespace: 1, workload.namespace: 0}
    applicable = sorted(
        select(
            policies,
            workload,
            root_namespace=root_namespace,
            service=service,
            selectors_on_gateways=selectors_on_gateways,
        ),
        key=lambda policy: (places.get(policy.namespace, 2), policy.created, policy.name),
    )
    return tuple(sorted((rule for policy in applicable for rule in policy.jwt_rules), key=lambda rule: rule.issuer))
