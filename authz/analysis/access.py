"""Access: what the policies before one workload allow, as a formula in a space.

It is written from the same lowered rules as the decision tree, stage by stage as the reference decides (semantics 0.3).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from authz.analysis.circuit import FALSE, TRUE
from authz.analysis.space import Space
from authz.decision import Match
from authz.external import Authorizers
from authz.keys import Attribute
from authz.matcher import Exact, Exists, Port, Present
from authz.model import Action, Policy
from authz.peer_authentication import MtlsMode, PortMode
from authz.predicates import LoweredRule, Part, Predicate, PredicateTable

__all__ = ["IDENTIFIED", "TOKEN", "Access", "Accesses", "Guarding", "LiteralRule", "Reading"]

IDENTIFIED = Predicate(Attribute("source.principal"), Present())
"""That the caller shows an identity."""

_PORT = Attribute("destination.port")
_AUDIENCE = Attribute("request.auth.audiences")
_ISSUER = Attribute("request.auth.claims", ("iss",))
TOKEN = Predicate(_ISSUER, Exists())
"""That the caller shows a token, for none is without an issuer."""
_OF_TOKENS = "request.auth."
_OF_IDENTITIES = frozenset({"source.principal", "source.namespace", "source.serviceAccount", "source.trustDomain"})


@dataclass(frozen=True, slots=True)
class Guarding:
    """What stands before one workload: the policies that apply, whose tokens are taken, who is asked besides, and what its ports take.

    `issuers` has the audiences of which a token must have one, none where it may have any. `modes` has the ports that take
    something else than all others, which are under `None`. `trust_domains` are the mesh's own and its aliases.
    """

    policies: tuple[Policy, ...]
    issuers: Mapping[str, tuple[str, ...]]
    authorizers: Authorizers
    modes: Mapping[int | None, PortMode]
    trust_domains: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LiteralRule:
    """A rule with the literal that holds where it matches."""

    match: Match
    literal: int
    lowered: LoweredRule


@dataclass(frozen=True, slots=True)
class Access:
    """What is allowed before one workload: the literal of it, and of what it is made.

    `refused` is plaintext where mTLS is demanded, `untaken` a token that is not taken, `unpassed` what an external authorizer
    did not let through. `closed` is whether what no ALLOW rule matches is denied.
    """

    allowed: int
    refused: int
    untaken: int
    unpassed: int
    custom: tuple[LiteralRule, ...]
    deny: tuple[LiteralRule, ...]
    allow: tuple[LiteralRule, ...]
    closed: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """Where rules see a token (`taken`), and an identity (`shown`), if the caller has one; literals both."""

    taken: int
    shown: int

    def of(self, attribute: Attribute) -> int:
        """Where they see the values of `attribute`."""
        if attribute.key.startswith(_OF_TOKENS):
            return self.taken
        return self.shown if attribute.key in _OF_IDENTITIES else TRUE


class Accesses:
    """Writes what is allowed into one space; rules that say the same have one literal.

    `literal` gives those of predicates, if they are not to be the space's own.
    """

    def __init__(self, space: Space, literal: Callable[[Predicate], int] | None = None) -> None:
        self._space = space
        self._literal = literal or space.literal
        self._tables: dict[tuple[str, ...], PredicateTable] = {}
        self._parts: dict[tuple[Part, Reading], int] = {}

    def of(self, guarding: Guarding) -> Access:
        """What is allowed before a workload. The space must not be settled yet."""
        all_of, any_of = self._space.circuit.all_of, self._space.circuit.any_of
        strict, disabled = self._ports(guarding.modes)
        reading = Reading(taken=self.taken(guarding.issuers), shown=-disabled)
        rules = {
            action: self.rules(
                # A dry run of CUSTOM is enforced, as in Istio.
                [p for p in guarding.policies if p.action is action and (action is Action.CUSTOM or not p.dry_run)],
                guarding.trust_domains,
                reading,
            )
            for action in (Action.CUSTOM, Action.DENY, Action.ALLOW)
        }
        refused = all_of((strict, -self._literal(IDENTIFIED)))
        unpassed = any_of(
            [all_of((rule.literal, -self._passed(rule, guarding))) for rule in rules[Action.CUSTOM]],
        )
        denied = any_of([rule.literal for rule in rules[Action.DENY]])
        closed = any(p.action is Action.ALLOW and not p.dry_run for p in guarding.policies)
        allowed = any_of([rule.literal for rule in rules[Action.ALLOW]]) if closed else TRUE
        # Where no tokens are looked at, one does no harm.
        token = self._literal(TOKEN)
        untaken = all_of((token, -reading.taken)) if guarding.issuers else FALSE
        return Access(
            allowed=all_of((-refused, -untaken, -unpassed, -denied, allowed)),
            refused=refused,
            untaken=untaken,
            unpassed=unpassed,
            custom=tuple(rules[Action.CUSTOM]),
            deny=tuple(rules[Action.DENY]),
            allow=tuple(rules[Action.ALLOW]),
            closed=closed,
        )

    def taken(self, issuers: Mapping[str, tuple[str, ...]]) -> int:
        """Whether there is a token, and it is taken."""
        literal, circuit = self._literal, self._space.circuit
        ways = []
        for issuer, audiences in issuers.items():
            meant = [literal(Predicate(_AUDIENCE, Exact(each))) for each in audiences]
            own = literal(Predicate(_ISSUER, Exact(issuer)))
            ways.append(circuit.all_of((own, circuit.any_of(meant))) if meant else own)
        return circuit.any_of(ways)

    def reading(self, guarding: Guarding) -> "Reading":
        """Where the rules before a workload see what a caller shows."""
        return Reading(taken=self.taken(guarding.issuers), shown=-self._ports(guarding.modes)[1])

    def rules(
        self, policies: Sequence[Policy], trust_domains: tuple[str, ...], reading: "Reading"
    ) -> list[LiteralRule]:
        """The rules of `policies`, in the order in which one is reported where several match."""
        table = self._tables.get(trust_domains)
        if table is None:
            table = self._tables[trust_domains] = PredicateTable(trust_domains=trust_domains)
        lowered = [rule for policy in policies for rule in table.lower(policy, self._space.protocol)]
        lowered.sort(key=lambda rule: rule.order)
        return [LiteralRule(rule.match, self.rule(rule, reading), rule) for rule in lowered]

    def rule(self, rule: LoweredRule, reading: "Reading") -> int:
        """The literal that holds where a rule matches."""
        circuit = self._space.circuit
        one_of = [
            circuit.any_of([self.part(part, reading) for part in parts]) for parts in (rule.sources, rule.operations)
        ]
        return circuit.all_of((*one_of, self.part(rule.conditions, reading)))

    def part(self, part: Part, reading: "Reading") -> int:
        """The literal that holds where all clauses of a part do."""
        key = (part, reading)
        known = self._parts.get(key)
        if known is None:
            known = self._parts[key] = self._space.circuit.all_of(self._clauses(part, reading))
        return known

    def _clauses(self, part: Part, reading: "Reading") -> Iterable[int]:
        circuit, literal = self._space.circuit, self._literal
        for clause in part:
            read = reading.of(clause.attribute)
            if clause.wanted:
                yield circuit.all_of((read, circuit.any_of([literal(each) for each in clause.wanted])))
            if clause.unwanted:
                yield -circuit.all_of((read, circuit.any_of([literal(each) for each in clause.unwanted])))

    def _passed(self, rule: LiteralRule, guarding: Guarding) -> int:
        """Whether the authorizer of a CUSTOM rule lets it through."""
        name = rule.lowered.order[0]
        if name in guarding.authorizers.passed(self._space.protocol):
            return TRUE
        return self._space.authorizer(name) if name in guarding.authorizers.asked else FALSE

    def _ports(self, modes: Mapping[int | None, PortMode]) -> tuple[int, int]:
        """Where mTLS is demanded, and where it is switched off."""
        circuit = self._space.circuit
        ports = {n: self._literal(Predicate(_PORT, Port(n))) for n in modes if n is not None}
        places = [(modes[None].mode, circuit.all_of([-literal for literal in ports.values()]))]
        places += [(modes[number].mode, literal) for number, literal in ports.items()]
        strict, disabled = (
            circuit.any_of([place for mode, place in places if mode is each])
            for each in (MtlsMode.STRICT, MtlsMode.DISABLE)
        )
        return strict, disabled
