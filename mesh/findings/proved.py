"""What a proof over all requests shows of rules: those that decide nothing, that say the same, and that always match."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from authz.attributes import Protocol
from authz.findings.codes import (
    ALLOWS_EVERYONE,
    CONTRADICTION,
    DENIES_EVERYTHING,
    DUPLICATE_RULE,
    SHADOWED_RULE,
    UNREACHABLE_RULE,
    WIDE_ALLOW,
)
from authz.findings.finding import Finding
from authz.findings.scope import scope_of
from authz.invariants import Assumed, EveryRule
from authz.mesh_config import PathNormalization
from authz.model import Action, Policy, Rule
from authz.span import Span
from mesh.findings.always import find_always_true
from mesh.findings.formulas import Formulas
from mesh.findings.surroundings import Surroundings
from mesh.proving.proofs import prove
from mesh.snapshot import Snapshot

__all__ = ["with_proofs"]

_NOWHERE = Span("", 1, 1, 1, 1)
_FEW = 3


def with_proofs(mesh: Surroundings, found: Sequence[Finding]) -> Iterator[Finding]:
    """What was `found` by comparing rules, and what is to be said of them besides."""
    sameness = _Sameness(mesh)
    about = [(_rule_of(finding), finding) for finding in found]
    for name, finding in about:
        yield sameness.instead_of(name, finding)
    yield from _find_dead_rules(mesh, {name for name, _ in about if name is not None}, sameness)
    yield from find_always_true(mesh, {name for name, finding in about if name is not None and finding.code in _WIDE})


_WIDE = (DENIES_EVERYTHING, ALLOWS_EVERYONE, WIDE_ALLOW)


def _rule_of(finding: Finding) -> str | None:
    """The name of the rule that a finding is about, or about a part of which it is."""
    match finding.path:
        case ("spec", "rules", int(number), *_):
            return f"{finding.policy.id}#{number}"
        case _:
            return None


def _find_dead_rules(mesh: Surroundings, known: Collection[str], sameness: "_Sameness") -> Iterator[Finding]:
    """What no request is decided by, whatever it is like; but for the rules of `known`, about which something is said already."""
    policies = mesh.manifests.policies
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
    spoken_of = set(known)
    for name, covering in proof.rules.items():
        policy_id, _, index = name.rpartition("#")
        policy, number = by_id[policy_id], int(index)
        # Of two that cover each other one can stay.
        if spoken_of.isdisjoint((name, *covering)) and (first := sameness.twin(name, covering)) is not None:
            spoken_of |= {name, first}
            yield sameness.finding(name, first)
        elif spoken_of.isdisjoint((name, *covering)) and _is_about_requests(policy.rules[number], covering, mesh):
            spoken_of.add(name)
            yield _finding(policy, number, covering, by_id)


class _Sameness:
    """Whether two rules match the same requests, wherever they are in force; they are written otherwise, or it had been seen before."""

    def __init__(self, mesh: Surroundings) -> None:
        self._mesh = mesh
        self._policies = {policy.id: policy for policy in mesh.manifests.policies}
        self._order = {policy_id: number for number, policy_id in enumerate(self._policies)}
        self._formulas: list[Formulas] = []

    def instead_of(self, name: str | None, finding: Finding) -> Finding:
        """That a rule and the one that covers it say the same, if they do; else what was found."""
        if name is None or finding.covered_by is None or self.twin(name, (finding.covered_by,)) is None:
            return finding
        return self.finding(name, finding.covered_by)

    def twin(self, name: str, covering: tuple[str, ...]) -> str | None:
        """The rule that says the same, if that is why a rule decides nothing."""
        if len(covering) != 1:
            return None
        (other,) = covering
        one, its = (self._policies[each.rpartition("#")[0]] for each in (name, other))
        return (
            other
            if _stand_alike(one, its) and all(each.same(name, other) for each in self._of_both_protocols())
            else None
        )

    def finding(self, one: str, other: str) -> Finding:
        """That two rules say the same: of the second, for the first can stay."""
        first, second = sorted((one, other), key=self._place)
        policy, _, number = second.rpartition("#")
        return Finding(
            code=DUPLICATE_RULE,
            policy=self._policies[policy],
            path=("spec", "rules", int(number)),
            message=f"this rule matches the same requests as `{first}`, which is written otherwise",
            help="remove one of them",
        )

    def _place(self, name: str) -> tuple[int, int]:
        policy, _, number = name.rpartition("#")
        return self._order[policy], int(number)

    def _of_both_protocols(self) -> list[Formulas]:
        if not self._formulas:
            self._formulas = [Formulas(self._mesh, protocol) for protocol in Protocol]
        return self._formulas


def _stand_alike(one: Policy, other: Policy) -> bool:
    """Whether rules of the two are tried at the same place, for the same workloads."""
    places = [(each.action, each.provider, each.dry_run, scope_of(each)) for each in (one, other)]
    return places[0] == places[1]


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
