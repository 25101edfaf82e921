"""Formulas of the rules of a mesh, all in one space, whatever stands before which workload."""

from collections.abc import Iterable, Sequence
from ipaddress import ip_network

from authz.analysis.access import IDENTIFIED, Accesses, Reading
from authz.analysis.circuit import FALSE, TRUE
from authz.analysis.space import Case, Space
from authz.attributes import Protocol
from authz.findings.reading import Clause, Part, Value
from authz.keys import Attribute
from authz.matcher import Cidr
from authz.mesh_config import PathNormalization
from authz.predicates import Predicate
from mesh.findings.surroundings import Surroundings

__all__ = ["Formulas"]

_ADDRESSES = tuple(map(Attribute, ("source.ip", "remote.ip", "destination.ip")))
_VERSIONS = (ip_network("0.0.0.0/0"), ip_network("::/0"))


class Formulas:
    """The literals of rules, by their names, and of what they are made of.

    Identities are taken as shown where there are some, and tokens as taken where a RequestAuthentication takes them.
    """

    def __init__(self, mesh: Surroundings, protocol: Protocol) -> None:
        # Of a mesh that is not given nobody knows which paths come to its policies.
        normalization = PathNormalization.NONE if mesh.given is None else mesh.given.path_normalization
        issuers = [rule.issuer for each in mesh.manifests.request_authentications for rule in each.jwt_rules]
        self.space = Space(protocol, normalization=normalization, issuers=issuers)
        accesses = Accesses(self.space)
        reading = Reading(taken=accesses.taken(dict.fromkeys(issuers, ())), shown=TRUE)
        self._reading = reading
        lowered = accesses.rules(mesh.manifests.policies, mesh.config.trust_domains, reading)
        self.rules = {f"{rule.match.policy}#{rule.match.rule}": rule.literal for rule in lowered}
        """By `policy#number`, but for those that a proxy drops for this protocol."""
        self.identified: int = self.space.literal(IDENTIFIED)
        both = [[self.space.literal(Predicate(each, Cidr(version))) for version in _VERSIONS] for each in _ADDRESSES]
        self.addressed: tuple[int, ...] = tuple(map(self.space.circuit.any_of, both))
        """That each address is there, as it is in every connection."""
        self.over_ipv4: tuple[int, ...] = tuple(four for four, _ in both)
        for rules in mesh.rules:
            for rule in rules:
                for clause in rule.clauses:
                    for value in (*clause.wanted, *clause.unwanted):
                        self.value(clause, value)

    def same(self, one: str, other: str) -> bool:
        """Whether two rules match the same requests."""
        mine, its = (self.rules.get(name, FALSE) for name in (one, other))
        return not self.space.possible(mine, -its) and not self.space.possible(-mine, its)

    def find(self, literals: Iterable[int]) -> Case | None:
        """A request for which all of them hold."""
        return self.space.find(*literals)

    def value(self, clause: Clause, value: Value) -> int:
        """The literal that holds where a value of a list is met."""
        literals = [self.space.literal(Predicate(clause.attribute, matcher)) for matcher in value.matchers]
        return self.space.circuit.all_of((self._reading.of(clause.attribute), self.space.circuit.any_of(literals)))

    def clause(self, clause: Clause) -> int:
        """The literal that holds where one of its values is met, and none of those that are not to be."""
        any_of = self.space.circuit.any_of
        wanted = any_of([self.value(clause, each) for each in clause.wanted]) if clause.wanted else TRUE
        unwanted = any_of([self.value(clause, each) for each in clause.unwanted])
        return self.space.circuit.all_of((wanted, -unwanted))

    def part(self, part: Part) -> int:
        """The literal that holds where a source or an operation is met."""
        return self.space.circuit.all_of(list(map(self.clause, part.clauses)))

    def needed(self, among: Sequence[int], literals: Sequence[int]) -> list[int] | None:
        """The places of those of the literals of which one at least holds in every case, none of which can be spared; none if there are none."""
        if self.space.possible(*among, *[-each for each in literals]):
            return None
        if TRUE in literals:
            return [literals.index(TRUE)]
        core = set(self.space.core())
        left = [place for place, literal in enumerate(literals) if -literal in core]
        for place in list(left):
            rest = [each for each in left if each != place]
            if not self.space.possible(*among, *[-literals[each] for each in rest]):
                left = rest
        return left
