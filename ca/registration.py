"""Registration: what an entry has to be for an authority to be able to issue by it. It is told to who makes it, not to who needs it."""

from ca.entries import Entry
from ca.errors import RefusedLifetimeError, RefusedNameError
from ca.lifetimes import Settings
from ca.profile import MIN_TTL, require_dns_name
from identity import TrustDomain

__all__ = ["require_registrable"]


def require_registrable(entry: Entry, trust_domain: TrustDomain, settings: Settings) -> None:
    """See that whoever `entry` applies to could have what it says.

    Raises:
        RefusedNameError: its SPIFFE ID is of another trust domain, or a DNS name is none.
        RefusedLifetimeError: a lifetime is out of the bounds of `settings`, or too short to be issued.
    """
    if entry.spiffe_id.trust_domain != trust_domain:
        raise RefusedNameError(str(entry.spiffe_id), f"not in trust domain `{trust_domain}`")
    for name in entry.dns_names:
        require_dns_name(name)
    if entry.ttl is not None and not MIN_TTL <= entry.ttl <= settings.max_ttl:
        reason = f"certificates live for {MIN_TTL} to {settings.max_ttl}"
        raise RefusedLifetimeError(reason, lifetime=entry.ttl, at=entry.created)
    if entry.jwt_ttl is not None and entry.jwt_ttl > settings.max_jwt_ttl:
        reason = f"tokens live for up to {settings.max_jwt_ttl}"
        raise RefusedLifetimeError(reason, lifetime=entry.jwt_ttl, at=entry.created)
