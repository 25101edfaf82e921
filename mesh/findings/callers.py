"""Callers: rules that tell them by an identity, where nobody need show one, or where nobody has it."""

from collections.abc import Iterator, Sequence

from authz.findings.codes import FOREIGN_TRUST_DOMAIN, PLAINTEXT_EVADES, UNKNOWN_SERVICE_ACCOUNT
from authz.findings.finding import Finding, named
from authz.findings.implication import subject_of
from authz.findings.reading import Clause, ReadRule, Value
from authz.keys import Attribute
from authz.matcher import SPIFFE, Exact, ServiceAccount
from authz.model import Action, Policy
from mesh.findings.surroundings import Surroundings
from parser.problems import nearest

__all__ = ["find_about_callers"]

_IDENTITY = subject_of(Attribute("source.namespace"))
_STANDING_FOR_OURS = "cluster.local"


def find_about_callers(policy: Policy, rules: Sequence[ReadRule], mesh: Surroundings) -> Iterator[Finding]:
    """Who is denied and may hide, and who is named and is not there."""
    if policy.action is Action.DENY and not policy.dry_run and mesh.manifests.peer_authentications:
        yield from _hiding(policy, rules, mesh)
    for rule in rules:
        for clause in rule.clauses:
            if subject_of(clause.attribute) != _IDENTITY:
                continue
            for name, values in ((clause.name, clause.wanted), (clause.not_name, clause.unwanted)):
                for value in values:
                    yield from _foreign(rule, name, value, mesh)
                    yield from _unknown_account(rule, name, value, mesh)


def _hiding(policy: Policy, rules: Sequence[ReadRule], mesh: Surroundings) -> Iterator[Finding]:
    """Whoever is denied by name and may come without one. Where something is allowed by name, that does not let them in."""
    found = next(
        (
            clause
            for rule in rules
            for clause in (*(clause for part in rule.sources for clause in part.clauses), *rule.conditions)
            if _names_somebody(clause)
        ),
        None,
    )
    if found is None or mesh.allowing(policy) or not mesh.serves_plaintext(policy):
        return
    yield Finding(
        code=PLAINTEXT_EVADES,
        policy=policy,
        path=found.path,
        message=f"who is denied by `{found.name}` passes over plaintext, which shows no identity and is served here",
        help="demand mTLS of these workloads by a PeerAuthentication: `mtls: {mode: STRICT}`",
    )


def _names_somebody(clause: Clause) -> bool:
    return subject_of(clause.attribute) == _IDENTITY and bool(clause.wanted)


def _foreign(rule: ReadRule, name: str, value: Value, mesh: Surroundings) -> Iterator[Finding]:
    """A principal that begins with `cluster.local`, and is not read as one of this mesh for having a star for its account."""
    own = mesh.config.trust_domains
    if (
        mesh.given is None
        or name not in ("principals", "notPrincipals", "source.principal")
        or not value.text.startswith(f"{_STANDING_FOR_OURS}/")
        or _STANDING_FOR_OURS in own
        or len(value.text.split("/")) == len(["td", "ns", "n", "sa", "a"])
    ):
        return
    meant = own[0] + value.text.removeprefix(_STANDING_FOR_OURS)
    yield Finding(
        code=FOREIGN_TRUST_DOMAIN,
        policy=rule.policy,
        path=value.path,
        message=f"{named(value.text)} in `{name}` matches nobody of this mesh, whose trust domain is `{own[0]}`: only a principal "
        "written in full is read as one of it",
        help=f"write {named(meant)}, or name the namespace in `namespaces`",
    )


def _unknown_account(rule: ReadRule, name: str, value: Value, mesh: Surroundings) -> Iterator[Finding]:
    account_of = _account(value, mesh.config.trust_domains)
    if account_of is None:
        return
    namespace, account = account_of
    known = mesh.accounts.get(namespace)
    if not known or account in known:
        return
    near = nearest(account, sorted(known)) if len(known) <= _MANY else None
    yield Finding(
        code=UNKNOWN_SERVICE_ACCOUNT,
        policy=rule.policy,
        path=value.path,
        message=f"{named(value.text)} in `{name}`: no workload in namespace `{namespace}` runs as {named(account)}",
        help=f"did you mean `{near}`?"
        if near
        else "look for a misspelt name, or for a workload without `serviceAccountName`",
    )


_MANY = 1000


def _account(value: Value, trust_domains: tuple[str, ...]) -> tuple[str, str] | None:
    """The namespace and the service account of this mesh that a value names in full."""
    match value.matchers[0]:
        case ServiceAccount(namespace, account):
            return namespace, account
        case Exact(identity):
            match identity.removeprefix(SPIFFE).split("/"):
                case [trust_domain, "ns", namespace, "sa", account] if trust_domain in trust_domains:
                    return namespace, account
                case _:
                    return None
        case _:
            return None
