"""Ground: the formulas of one workload, in one version of the mesh or in two, of one protocol."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from authz.analysis.access import IDENTIFIED, Access, Accesses, Guarding
from authz.analysis.circuit import FALSE, TRUE
from authz.analysis.space import Callers as Identities
from authz.analysis.space import Case, Space
from authz.attributes import Protocol
from authz.decision import Decision, Verdict
from authz.invariants import Assumed, Callers, Requests, Spelling
from authz.keys import Attribute
from authz.matcher import Exact
from authz.mesh_config import PathNormalization
from authz.model import Action, Condition, Operation, Policy, Rule, Source
from authz.predicates import Predicate
from mesh.questions import decide_again

__all__ = ["Contradiction", "Ground", "Shared", "Witness", "weaker"]


class Contradiction(Exception):  # noqa: N818  # a fault of ours, which must not be told as an answer
    """The reference decides a case otherwise than the analysis says. It is a bug, and no answer is given."""


@dataclass(frozen=True, slots=True)
class Witness:
    """A request, and what the reference decides about it: in this version, and before if there was one."""

    case: Case
    decision: Decision
    before: Decision | None = None


def weaker(one: PathNormalization, other: PathNormalization) -> PathNormalization:
    """Of two ways to normalize, the one that leaves more paths."""
    return min(one, other, key=list(PathNormalization).index)


class Shared:
    """The requests of one protocol, and the formulas about them, for any number of workloads.

    `issuers` are all whose tokens any of them takes.
    """

    def __init__(
        self, protocol: Protocol, *, normalization: PathNormalization, issuers: Iterable[str], assumed: Assumed
    ) -> None:
        callers = Identities.ISTIO if assumed.istio_callers else Identities.SPIFFE
        self.protocol = protocol
        self.space = Space(protocol, normalization=normalization, issuers=issuers, callers=callers)
        self.accesses = Accesses(self.space)
        self.identified: int = self.space.literal(IDENTIFIED)
        self.said: dict[object, int] = {}
        """The literals of what claims say, by that."""
        self.among: tuple[int, ...] = tuple(self._among(assumed))
        """What holds of every request."""

    def _among(self, assumed: Assumed) -> Iterator[int]:
        if assumed.strict_mtls:
            yield self.identified
        if assumed.hosts and self.protocol is Protocol.HTTP:
            host = Attribute("request.host")
            yield self.space.circuit.any_of(
                [self.space.literal(Predicate(host, Exact(each.lower()))) for each in assumed.hosts]
            )


class Ground:
    """What is allowed before workloads that are guarded alike, and before if `old` is given, over the requests of `shared`.

    Ask for all formulas before the first answer: then what there can be is settled.
    """

    def __init__(self, shared: Shared, new: Guarding, *, old: Guarding | None = None) -> None:
        self.shared = shared
        self.space = shared.space
        self._new, self._old = new, old
        self._accesses = shared.accesses
        self.new: Access = self._accesses.of(new)
        self._reading = self._accesses.reading(new)
        self.taken: int = self._reading.taken
        """Whether there is a token that is taken."""
        self.old: Access | None = None if old is None else self._accesses.of(old)

    @property
    def among(self) -> tuple[int, ...]:
        """What holds of every request."""
        return self.shared.among

    def respelt(self, spelling: Spelling) -> int:
        """The literal that holds where the same request, spelt otherwise, is allowed."""
        return Accesses(self.space, self.space.respelt(spelling)).of(self._new).allowed

    def of_callers(self, callers: Callers) -> int:
        """The literal that holds where the caller is one of `callers`."""
        held = [self._said(callers.source, Operation(), callers.conditions)]
        if callers.anonymous is not None:
            held.append(-self.taken if callers.anonymous else self.taken)
        if callers.plaintext is not None:
            held.append(-self.shared.identified if callers.plaintext else self.shared.identified)
        if callers.without is not None:
            held.append(-self.of_callers(callers.without))
        return self.space.circuit.all_of(held)

    def of_requests(self, requests: Requests, workload_id: str) -> int:
        """The literal that holds where what is asked of that workload is one of `requests`."""
        if not requests.is_about(workload_id):
            return FALSE
        held = [self._said(Source(), requests.operation, requests.conditions)]
        if requests.without is not None:
            held.append(-self.of_requests(requests.without, workload_id))
        return self.space.circuit.all_of(held)

    def _said(self, source: Source, operation: Operation, conditions: tuple[Condition, ...]) -> int:
        """What a rule that says this matches. On TCP, where nobody asks for a path, it is nothing if it names one."""
        if (source, operation, conditions) == (Source(), Operation(), ()):
            return TRUE
        # Of many workloads the same is asked.
        key = (source, operation, conditions, self._reading, self._new.trust_domains)
        if (known := self.shared.said.get(key)) is not None:
            return known
        rule = Rule(sources=(source,), operations=(operation,), conditions=conditions)
        policy = Policy(namespace="", name="", action=Action.ALLOW, rules=(rule,))
        found = self._accesses.rules([policy], self._new.trust_domains, self._reading)
        said = self.shared.said[key] = found[0].literal if found else FALSE
        return said

    def find(self, *literals: int) -> Witness | None:
        """A request for which all of `literals` hold, as simple as can be, decided again; nothing if there is none.

        Raises:
            Contradiction: The reference decides otherwise than the formulas say.
        """
        case = self.space.find(*self.among, *literals, simplest=True)
        return None if case is None else self.witness(case)

    def witness(self, case: Case) -> Witness:
        """The case, with what the reference decides about it.

        Raises:
            Contradiction: As `find`.
        """
        decision = self._again(case, self.new, self._new)
        if case.respelt is not None:
            # Asked about is one that is denied, and allowed as it is spelt otherwise.
            otherwise = decide_again(self._new, replace(case, attributes=case.respelt))
            if otherwise.verdict is not Verdict.ALLOW:
                raise Contradiction(f"{case.respelt} is {otherwise.verdict.value} by the reference")
        before = None if self.old is None or self._old is None else self._again(case, self.old, self._old)
        return Witness(case, decision, before)

    def possible(self, *literals: int) -> bool:
        """Whether any request meets all of `literals`."""
        return self.space.possible(*self.among, *literals)

    def _again(self, case: Case, access: Access, guarding: Guarding) -> Decision:
        decision = decide_again(guarding, case)
        said = access.allowed == TRUE or (
            access.allowed != FALSE and (case.holds[abs(access.allowed)] > 0) == (access.allowed > 0)
        )
        if said is not (decision.verdict is Verdict.ALLOW):
            raise Contradiction(f"{case.attributes} is {decision.verdict.value} by the reference")
        return decision
