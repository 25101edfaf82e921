"""Callers: the rows by which access is told, for one workload: whoever its policies may tell apart."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from authz.keys import Attribute
from authz.matcher import (
    SPIFFE,
    Exact,
    Exists,
    Matcher,
    Namespace,
    Prefix,
    Present,
    ServiceAccount,
    SpiffeSuffix,
    TrustDomainPattern,
    matches,
)
from authz.predicates import Predicate
from authz.workload import Workload
from identity import IdentityError, SpiffeId

__all__ = ["IDENTITY_KEYS", "Caller", "CallerKind", "callers", "can_be"]

IDENTITY_KEYS = frozenset({"source.principal", "source.namespace", "source.serviceAccount", "source.trustDomain"})
"""The keys that read who calls."""

_PRINCIPAL = Attribute("source.principal")


class CallerKind(Enum):
    """How a caller is known."""

    ACCOUNT = "service account"
    PATTERN = "pattern"
    OTHER = "anyone else"
    PLAINTEXT = "plaintext"
    TOKEN = "token"  # noqa: S105  # a kind, no secret


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. `predicate` says whose identity it is, where it is one; `issuer` whose token is shown, where that matters."""

    kind: CallerKind
    name: str
    predicate: Predicate | None = None
    issuer: str | None = None

    @property
    def identity(self) -> str | None:
        """The one identity that it is; none where it is plaintext, or there are several."""
        matcher = None if self.predicate is None else self.predicate.matcher
        return matcher.value if isinstance(matcher, Exact) else None


def callers(
    workloads: Iterable[Workload],
    predicates: Iterable[Predicate],
    issuers: Iterable[str],
    *,
    trust_domains: tuple[str, ...],
    over_mtls: bool,
) -> list[list[Caller]]:
    """The callers of a workload before which `predicates` are tried, those together whom no predicate tells apart.

    They are the service accounts of `workloads`, whoever the predicates name, somebody whom they do not, plaintext, and who shows
    a token of one of `issuers`: over mTLS as somebody in the mesh whom no policy names, if `over_mtls`, else over plaintext.
    """
    domain = trust_domains[0]
    told_apart = [each.matcher for each in dict.fromkeys(predicates) if each.attribute.key in IDENTITY_KEYS]
    found: dict[Predicate, Caller] = {}
    for account in sorted({(workload.namespace, workload.service_account) for workload in workloads}):
        _add(found, _account(*account, domain))
    for matcher in told_apart:
        if (caller := _named(matcher, domain)) is not None:
            _add(found, caller)
    other = _somebody(told_apart, domain)
    groups: dict[object, list[Caller]] = {}
    for caller in [*found.values(), other]:
        # One identity is told from another by what holds for it, and by nothing else.
        identity = caller.identity
        alone = identity is None or not can_be(identity)
        key = caller if alone else tuple(matches(matcher, identity or "") for matcher in told_apart)
        groups.setdefault(key, []).append(caller)
    issuers = sorted(set(issuers))
    unsigned = Caller(CallerKind.PLAINTEXT, "plaintext, no token" if issuers else "plaintext")
    signed = [
        Caller(CallerKind.TOKEN, f"a token of {issuer}", other.predicate if over_mtls else None, issuer)
        for issuer in issuers
    ]
    return [*groups.values(), [unsigned], *([each] for each in signed)]


def _add(found: dict[Predicate, Caller], caller: Caller) -> None:
    if caller.predicate is not None:
        found.setdefault(caller.predicate, caller)


def _account(namespace: str, name: str, domain: str) -> Caller:
    identity = f"{SPIFFE}{domain}/ns/{namespace}/sa/{name}"
    return Caller(CallerKind.ACCOUNT, f"{namespace}/{name}", Predicate(_PRINCIPAL, Exact(identity)))


def _named(matcher: Matcher, domain: str) -> Caller | None:
    """Whom a policy names by a matcher; nobody by one that holds for everybody who has an identity."""
    match matcher:
        case ServiceAccount(namespace, name):
            return _account(namespace, name, domain)
        case Exact(identity):
            return _identified(identity, domain)
        case Present() | Exists():
            return None
        case _:
            return Caller(CallerKind.PATTERN, _words(matcher), Predicate(_PRINCIPAL, matcher))


def _identified(identity: str, domain: str) -> Caller:
    try:
        known = SpiffeId.parse(identity)
    except IdentityError:
        known = None
    if known is not None and known.workload is not None and identity.startswith(f"{SPIFFE}{domain}/"):
        return _account(*known.workload, domain)
    return Caller(CallerKind.ACCOUNT, identity.removeprefix(SPIFFE), Predicate(_PRINCIPAL, Exact(identity)))


def can_be(identity: str) -> bool:
    """Whether a certificate may say so; what a manifest calls an account need be no name of one."""
    try:
        SpiffeId.parse(identity)
    except IdentityError:
        return False
    return True


def _words(matcher: Matcher) -> str:
    match matcher:
        case Namespace(pieces):
            return f"namespace {'*'.join(pieces)}"
        case TrustDomainPattern(prefix, suffix):
            return f"trust domain {prefix}*{suffix}"
        case Prefix(text):
            rest = text.removeprefix(SPIFFE)
            domain = rest.removesuffix("/")
            return f"{rest}*" if "/" in domain or domain == rest else f"trust domain {domain}"
        case SpiffeSuffix(text):
            return f"*{text}"
        case _:
            return str(matcher)


def _somebody(told_apart: list[Matcher], domain: str) -> Caller:
    """Somebody of the mesh for whom as few matchers hold as can be."""
    tried = [f"{SPIFFE}{domain}/ns/{name}/sa/{name}" for name in ("elsewhere", "nowhere", "unnamed", "q7x", "zz9")]
    identity = min(tried, key=lambda each: sum(matches(matcher, each) for matcher in told_apart))
    return Caller(CallerKind.OTHER, "anyone else in the mesh", Predicate(_PRINCIPAL, Exact(identity)))
