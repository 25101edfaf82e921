"""Rules that decide nothing, by proof: covered by several others together, or by what nothing but a proof can see."""

from collections.abc import Collection, Iterator
from dataclasses import replace

from authz.findings.codes import CONTRADICTION, SHADOWED_RULE, UNREACHABLE_RULE
from authz.findings.finding import Finding
from authz.invariants import Assumed, EveryRule
from authz.mesh_config import PathNormalization
from authz.model import Action, Policy, Rule
from authz.span import Span
from mesh.findings.surroundings import Surroundings
from mesh.snapshot import Snapshot

__all__ = ["MOST_RULES", "find_dead_rules"]

MOST_RULES = 1_000
"""Of more rules `meshward prove` is to be asked, with `every-rule`: that takes longer than anybody waits for a linter."""

_NOWHERE = Span("", 1, 1, 1, 1)
_FEW = 3


def find_dead_rules(mesh: Surroundings, known: Collection[tuple[str, int]]) -> Iterator[Finding]:
    """What no request is decided by, whatever it is like; but for the rules of `known`, about which something is said already."""
    policies = mesh.manifests.policies
    if not policies or sum(len(policy.rules) for policy in policies) > MOST_RULES:
        return
    from mesh.proving.proofs import prove  # noqa: PLC0415  # paid for where there is something to prove

    # Of a mesh that is not given nobody knows which paths come to its policies.
    config = mesh.config if mesh.given is not None else replace(mesh.config, path_normalization=PathNormalization.NONE)
    snapshot = Snapshot(
        policies=policies,
        peer_authentications=mesh.manifests.peer_authentications,
        request_authentications=mesh.manifests.request_authentications,
        workloads=mesh.manifests.workloads,
        config=config,
        revision="",
    )
    claim = EveryRule(id="", span=_NOWHERE, reachable=True, not_shadowed=True)
    (proof,) = prove(snapshot, [claim], assumed=Assumed(), baselines=lambda _: snapshot)
    by_id = {policy.id: policy for policy in policies}
    spoken_of = {f"{policy_id}#{index}" for policy_id, index in known}
    for name, covering in proof.rules.items():
        policy_id, _, index = name.rpartition("#")
        policy, number = by_id[policy_id], int(index)
        # Of two that cover each other one can stay.
        if spoken_of.isdisjoint((name, *covering)) and _is_about_requests(policy.rules[number], covering, mesh):
            spoken_of.add(name)
            yield _finding(policy, number, covering, by_id)


def _is_about_requests(rule: Rule, covering: tuple[str, ...], mesh: Surroundings) -> bool:
    """Whether it is the rule that is at fault.

    It may be, too, that nobody says whose tokens to take, that mTLS keeps out who is meant, or that an authorizer cannot be asked.
    """
    if covering:
        return True
    if any(policy.action is Action.CUSTOM for policy in mesh.manifests.policies):
        return False
    reads_tokens = any(source.request_principals for source in rule.sources) or any(
        condition.key.startswith("request.auth.") for condition in rule.conditions
    )
    return not reads_tokens and not mesh.manifests.peer_authentications


def _finding(policy: Policy, number: int, covering: tuple[str, ...], by_id: dict[str, Policy]) -> Finding:
    if not covering:
        return Finding(
            code=CONTRADICTION,
            policy=policy,
            path=("spec", "rules", number),
            message="no request matches this rule: it was proved over all of them",
            help="remove it, or say what it was meant for",
        )
    denying = [name for name in covering if by_id[name.rpartition("#")[0]].action is not policy.action]
    some = ", ".join(f"`{name}`" for name in covering[:_FEW])
    more = f" and {len(covering) - _FEW} more" if len(covering) > _FEW else ""
    together = " together" if len(covering) > 1 else ""
    if denying and policy.action is Action.ALLOW:
        return Finding(
            code=UNREACHABLE_RULE,
            policy=policy,
            path=("spec", "rules", number),
            message=f"whatever this rule matches, {some}{more}{together} match, too, and DENY wins: it never allows anything of its own",
            help="remove this rule, or narrow the others",
        )
    return Finding(
        code=SHADOWED_RULE,
        policy=policy,
        path=("spec", "rules", number),
        message=f"whatever this rule matches, {some}{more}{together} match, too",
        help="remove this rule, or narrow the others",
    )
