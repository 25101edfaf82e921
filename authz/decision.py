"""Decision: what meshward answers about one request, and what in the policies determined it."""

from enum import Enum
from typing import NamedTuple

from authz.model import Action, Policy
from authz.record import record

__all__ = [
    "RBAC_DENIAL",
    "Decision",
    "Denial",
    "Match",
    "Shadow",
    "Stage",
    "Trigger",
    "Verdict",
    "rule_id",
    "rule_order",
]


class Verdict(Enum):
    """The answer."""

    ALLOW = "ALLOW"
    DENY = "DENY"


class Stage(Enum):
    """Which filter of Istio's chain decided; `NONE` where no policy had a say."""

    CUSTOM = "custom"
    JWT = "jwt"
    DENY = "deny"
    ALLOW = "allow"
    NONE = "none"


class Match(NamedTuple):
    """A rule that matched: the policy as `namespace/name`, and the rule's position in it."""

    policy: str
    rule: int


class Trigger(NamedTuple):
    """An external authorizer that must let a request through, empty where its policy names none, and the rule that says so."""

    provider: str
    match: Match


class Shadow(NamedTuple):
    """What a stage's dry-run policies would have answered, had they been enforced and no others."""

    verdict: Verdict
    match: Match | None


class Denial(NamedTuple):
    """What the caller of a denied request is told. Header names are in lower case, one entry a line."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


RBAC_DENIAL = Denial(403, b"RBAC: access denied", (("content-type", "text/plain"),))
"""What Envoy's own RBAC filter tells (semantics 7.1)."""


@record
class Decision:
    """The answer about one request.

    `action` is the action of the determining policies, also where it is their silence that denies; `match` the rule that
    decided, `None` where none did. The shadows are `None` where no dry-run policy of that action applies, or where an
    earlier stage denied, so that it was never asked. `audit` says that an AUDIT rule matched; it is not asked where CUSTOM
    denied.
    """

    verdict: Verdict
    stage: Stage
    action: Action | None
    match: Match | None
    reason: str
    shadow_deny: Shadow | None = None
    shadow_allow: Shadow | None = None
    audit: bool = False
    denied_with: Denial = RBAC_DENIAL

    @property
    def status(self) -> int:
        """The HTTP status that the caller sees instead of the upstream's, 200 where it is let through."""
        return 200 if self.verdict is Verdict.ALLOW else self.denied_with.status


def rule_id(policy: Policy, index: int) -> str:
    """The id Istio gives a rule (0.6), before the mark that it puts on those of a provider it cannot use."""
    own = f"ns[{policy.namespace}]-policy[{policy.name}]-rule[{index}]"
    if policy.action is not Action.CUSTOM:
        return own
    return f"istio-ext-authz-{policy.provider}-{own}" if policy.provider else f"istio-ext-authz-{own}"


def rule_order(policy: Policy, index: int) -> tuple[str, str]:
    """What comes first among the rules of one action, and is reported where several match.

    CUSTOM has a filter for each provider, in the order of their names (0.2); a filter tries its rules by their ids (0.6).
    """
    provider = (policy.provider or "") if policy.action is Action.CUSTOM else ""
    return provider, rule_id(policy, index)
