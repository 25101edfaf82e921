"""Ambient: what ztunnel makes of a policy, before workloads that have neither a sidecar nor a target that names a waypoint."""

from collections.abc import Iterator, Sequence

from authz.findings.codes import INERT_AT_ZTUNNEL
from authz.findings.finding import Finding
from authz.findings.reading import Clause, ReadRule
from authz.model import Action, Policy
from authz.span import Path
from mesh.findings.surroundings import Surroundings

__all__ = ["find_inert_at_ztunnel"]

# What ztunnel looks at (semantics 3.3), by the fields that say it and by the keys of `when`.
_FIELDS = frozenset({"principals", "namespaces", "serviceAccounts", "ipBlocks", "ports"})
_KEYS = frozenset({"source.ip", "source.namespace", "source.principal", "destination.ip", "destination.port"})
_TRUST_DOMAINS = "source.trustDomain"
_REMEDY = "attach the policy to a waypoint by `targetRefs`"


def find_inert_at_ztunnel(policy: Policy, rules: Sequence[ReadRule], mesh: Surroundings) -> Iterator[Finding]:
    """What of `policy` ztunnel does not enforce, where it is the only one to ask."""
    if policy.target_refs:
        return
    workloads = mesh.workloads(policy)
    if not workloads or not all(map(mesh.is_ambient, workloads)):
        return
    if policy.action in (Action.AUDIT, Action.CUSTOM):
        yield _finding(
            policy,
            ("spec", "action"),
            f"ztunnel does not act on {policy.action.value} policies, and nothing else decides here",
        )
        return
    for rule in rules:
        beyond = [clause for clause in rule.clauses if not _is_known(clause)]
        if not beyond:
            continue
        said = beyond[0].name if beyond[0].wanted else beyond[0].not_name
        at = beyond[0].path if beyond[0].wanted else beyond[0].not_path
        if policy.action is Action.ALLOW:
            # Trust domains it passes over without a word, so that the rest of the rule lets in more than was meant.
            does = (
                "so this rule lets in every trust domain"
                if all(clause.attribute.key == _TRUST_DOMAINS for clause in beyond)
                and len(list(rule.clauses)) > len(beyond)
                else "so this rule allows nothing"
            )
        else:
            does = (
                "so this rule denies nothing"
                if len(beyond) == len(list(rule.clauses))
                else "so this rule denies whatever the rest of it matches"
            )
        yield _finding(policy, at, f"ztunnel does not look at `{said}`, {does}")


def _is_known(clause: Clause) -> bool:
    if clause.name == clause.not_name:
        return clause.attribute.key in _KEYS
    return clause.name in _FIELDS


def _finding(policy: Policy, path: Path, message: str) -> Finding:
    return Finding(code=INERT_AT_ZTUNNEL, policy=policy, path=path, message=message, help=_REMEDY)
