"""DecisionTree: the policies that apply to one workload, compiled to be decided without trying rule after rule.

The rules of all stages stand in one tree, in the order in which Istio's filters and Envoy's rule ids decide. A request
goes through it once, and comes out with the first rule of each stage that matches; what was decided follows from those.
How the tree parts the rules is told in `dispatch`, how it is made in `growing`, and how its root is walked in
`straightline`.
"""

from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import replace
from itertools import groupby

from authz.attributes import Attributes, Protocol
from authz.decision import Decision, Match, Shadow, Stage, Trigger, Verdict
from authz.dispatch import Best, Lane, Node
from authz.facts import Facts, Test
from authz.growing import Growing
from authz.keys import KEYS
from authz.model import Action, Policy
from authz.predicates import LoweredRule, PredicateTable
from authz.straightline import Walk, straightline

__all__ = ["DecisionTree", "compile_policies"]


def compile_policies(policies: Iterable[Policy], *, trust_domains: tuple[str, ...]) -> "DecisionTree":
    """The tree that decides as `semantics.decide` does for `policies`, those that apply to one workload.

    `trust_domains` are the mesh's own and its aliases. Takes time and memory linear in the rules.
    """
    return DecisionTree(tuple(policies), trust_domains)


class DecisionTree:
    """Decides requests for one workload. No decision changes it, and threads may share it."""

    __slots__ = ("_http", "_tcp", "claims", "headers", "providers", "reads", "size", "values")

    def __init__(self, policies: tuple[Policy, ...], trust_domains: tuple[str, ...]) -> None:
        table = PredicateTable(trust_domains=trust_domains)
        stages = {protocol: _Stages(policies, protocol, table) for protocol in Protocol}
        facts = Facts(table, KEYS)
        asked: set[Test] = set()
        self._http = _Chain(stages[Protocol.HTTP], facts, asked)
        self._tcp = _Chain(stages[Protocol.TCP], facts, asked)
        facts.ask_for(asked)
        self.size = len(table)
        """How many distinct predicates the rules have."""
        self.values = sum([policy.size for policy in policies])
        """How many values the policies have, equal ones counted each time: the tree's memory is linear in it."""
        self.reads = frozenset(predicate.attribute for predicate in table)
        """Every attribute that some rule looks at."""
        self.headers = frozenset(
            attribute.argument[0] for attribute in self.reads if attribute.key == "request.headers"
        )
        """The lower-case names of the headers that some rule looks at."""
        self.claims = frozenset(
            name
            for attribute in self.reads
            for name in _CLAIMS.get(attribute.key, ())
            or (attribute.argument[:1] if attribute.key == "request.auth.claims" else ())
        )
        """The names of the claims that some rule looks at, those on the outside where they are nested."""
        self.providers = frozenset(policy.provider or "" for policy in policies if policy.action is Action.CUSTOM)
        """The external authorizers that CUSTOM policies name, the empty name among them where one names none."""

    def decide(self, attributes: Attributes, *, allowed_by: frozenset[str] = frozenset()) -> Decision:
        """The decision that the reference makes for the same policies."""
        chain = self._tcp if attributes.protocol is _TCP else self._http
        return chain.decide(attributes, allowed_by)

    def triggered(self, attributes: Attributes) -> tuple[Trigger, ...]:
        """The external authorizers to ask about this request, as the reference finds them."""
        chain = self._tcp if attributes.protocol is _TCP else self._http
        return chain.triggered(attributes)

    def decide_by(
        self, walk_from: Callable[[Node, Attributes, Best], None], attributes: Attributes, *, allowed_by: frozenset[str]
    ) -> Decision:
        """As `decide`, of the lanes that another walk from the root finds."""
        chain = self._tcp if attributes.protocol is _TCP else self._http
        return chain.walked_by(lambda attributes, best, _: walk_from(chain.root, attributes, best)).decide(
            attributes, allowed_by
        )

    def root(self, protocol: Protocol) -> Node:
        """The tree of one protocol, to be looked at: its branches, and the lanes that hang on them."""
        return (self._tcp if protocol is _TCP else self._http).root


_TCP = Protocol.TCP
# The keys that have claims of their own.
_CLAIMS = {
    "request.auth.principal": ("iss", "sub"),
    "request.auth.audiences": ("aud",),
    "request.auth.presenter": ("azp",),
}


class _Stages:
    """The rules of each stage of one protocol's filters, in the order in which they decide."""

    def __init__(self, policies: tuple[Policy, ...], protocol: Protocol, table: PredicateTable) -> None:
        def of(action: Action, *, dry_run: bool) -> list[LoweredRule]:
            chosen = (p for p in policies if p.action is action and p.dry_run is dry_run)
            return sorted(
                (rule for policy in chosen for rule in table.lower(policy, protocol)), key=lambda rule: rule.order
            )

        kinds = {(policy.action, policy.dry_run) for policy in policies}
        # A rule's order begins with its provider's name. A dry run of CUSTOM is enforced, as in Istio.
        self.custom = sorted(
            of(Action.CUSTOM, dry_run=False) + of(Action.CUSTOM, dry_run=True), key=lambda rule: rule.order
        )
        self.deny = of(Action.DENY, dry_run=False)
        self.allow = of(Action.ALLOW, dry_run=False)
        self.audit = of(Action.AUDIT, dry_run=False)
        self.shadow_deny = of(Action.DENY, dry_run=True) if (Action.DENY, True) in kinds else None
        self.shadow_allow = of(Action.ALLOW, dry_run=True) if (Action.ALLOW, True) in kinds else None
        self.default = _NO_RULE_MATCHES if (Action.ALLOW, False) in kinds else _NO_POLICY_APPLIES


class _Chain:
    """The filters of one protocol as one tree. CUSTOM has a stage a provider; DENY and ALLOW are one, denials first."""

    def __init__(self, stages: _Stages, facts: Facts, asked: set[Test]) -> None:
        growing = Growing(facts, asked=asked)
        self._stages = 0

        def stage(*added: tuple[Iterable[LoweredRule], Callable[[Match], Decision]]) -> int:
            """The next one, with all these rules."""
            for rules, decided in added:
                for rule in rules:
                    growing.add(rule, stage=self._stages, decision=decided(rule.match))
            self._stages += 1
            return self._stages - 1

        self._providers = {
            provider: stage((rules, _custom)) for provider, rules in groupby(stages.custom, lambda rule: rule.order[0])
        }
        self._enforced = stage((stages.deny, _deny), (stages.allow, _allow))
        self._audit = stage((stages.audit, _allow)) if stages.audit else None
        self._shadow_deny = None if stages.shadow_deny is None else stage((stages.shadow_deny, _deny))
        self._shadow_allow = None if stages.shadow_allow is None else stage((stages.shadow_allow, _allow))
        self._default = stages.default
        self.root = growing.grow()
        self.walk = straightline(self.root)

    def walked_by(self, walk: Walk) -> "_Chain":
        """The same stages, in which `walk` finds the lanes."""
        other = copy(self)
        other.walk = walk
        return other

    def triggered(self, attributes: Attributes) -> tuple[Trigger, ...]:
        if not self._providers:
            return ()
        best: Best = [_SETTLED] * self._stages
        for asked in self._providers.values():
            best[asked] = None
        self.walk(attributes, best, {})
        found = ((provider, best[asked]) for provider, asked in self._providers.items())
        return tuple(
            Trigger(provider, lane.decision.match)
            for provider, lane in found
            if lane is not None and lane.decision.match is not None
        )

    def decide(self, attributes: Attributes, allowed_by: frozenset[str]) -> Decision:
        best: Best = [None] * self._stages
        if self._stages == 1:
            # As in most meshes: nothing but DENY and ALLOW.
            self.walk(attributes, best, {})
            return self._default if (lane := best[0]) is None else lane.decision
        for provider in allowed_by & self._providers.keys():
            # One without a name cannot have been asked, whatever somebody says.
            if provider:
                best[self._providers[provider]] = _SETTLED
        self.walk(attributes, best, {})
        deciding = (lane for lane in best[: self._enforced + 1] if lane is not None and lane is not _SETTLED)
        lane = next(deciding, None)
        decision = self._default if lane is None else lane.decision
        return decision if self._stages == self._enforced + 1 else self._with_shadows(decision, best)

    def _with_shadows(self, decision: Decision, best: Best) -> Decision:
        denied_early = decision.verdict is Verdict.DENY and decision.stage in (Stage.CUSTOM, Stage.DENY)
        return replace(
            decision,
            audit=self._audit is not None and best[self._audit] is not None and decision.stage is not Stage.CUSTOM,
            shadow_deny=_shadow(best[self._shadow_deny], Verdict.ALLOW)
            if self._shadow_deny is not None and decision.stage is not Stage.CUSTOM
            else None,
            shadow_allow=_shadow(best[self._shadow_allow], Verdict.DENY)
            if self._shadow_allow is not None and not denied_early
            else None,
        )


def _shadow(lane: Lane | None, unmatched: Verdict) -> Shadow:
    return Shadow(unmatched, None) if lane is None else Shadow(lane.decision.verdict, lane.decision.match)


def _custom(match: Match) -> Decision:
    return Decision(
        verdict=Verdict.DENY,
        stage=Stage.CUSTOM,
        action=Action.CUSTOM,
        match=match,
        reason="a CUSTOM rule matches, and no authorizer has let the request through",
    )


def _deny(match: Match) -> Decision:
    return Decision(
        verdict=Verdict.DENY, stage=Stage.DENY, action=Action.DENY, match=match, reason="a DENY rule matches"
    )


def _allow(match: Match) -> Decision:
    return Decision(
        verdict=Verdict.ALLOW, stage=Stage.ALLOW, action=Action.ALLOW, match=match, reason="an ALLOW rule matches"
    )


_NO_RULE_MATCHES = Decision(
    verdict=Verdict.DENY, stage=Stage.ALLOW, action=Action.ALLOW, match=None, reason="no ALLOW rule matches"
)
_NO_POLICY_APPLIES = Decision(
    verdict=Verdict.ALLOW,
    stage=Stage.NONE,
    action=None,
    match=None,
    reason="no ALLOW policy applies and no other denies",
)


_SETTLED = Lane(-1, 0, (), (), _NO_POLICY_APPLIES)
"""Stands for a stage of which nothing is asked: it comes before any rule."""
