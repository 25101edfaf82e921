"""No mutation of a denied request is allowed, but where Envoy and Istio mean it: over every denial among the vectors.

Each is decided by the reference, by the tree, and over the wire with its header lines apart and joined.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import cast

import pytest

from authz.attributes import Attributes, Value
from authz.decision import Decision, Verdict
from authz.keys import KEYS, Attribute, AttributeKey
from authz.mesh_config import PathNormalization
from authz.predicates import PredicateTable
from authz.request_authentication import JwtRule, RequestAuthentication
from authz.workload import ProxyKind, Workload
from mesh.deciding import Offline, decide
from mesh.snapshot import Guard, Snapshot
from mesh.testing import mutations
from mesh.testing.mutations import GAPS, MUTATIONS, Gap, Known, Mutation
from mesh.testing.sent import HttpVersion, Refused, Sent, as_seen, as_sent
from parser.request import RequestDocument
from tests.attacks.asking import Asking, Lines, question_of
from tests.unit.authz.vectors import FILES, Case, as_expected, cases

# Beside the vectors of every attribute: denials made for the mutations that those say nothing of.
OWN = Path(__file__).parent / "denials.yaml"
Way = tuple[PathNormalization, HttpVersion]
WAYS = [(option, version) for option in PathNormalization for version in HttpVersion]


@dataclass(frozen=True, slots=True)
class Denial:
    """A vector that expects a denial, the request that a client may have sent for it, and how that stands unmutated."""

    case: Case
    sent: Sent
    facts: Attributes
    known: Known
    workload: Workload
    guard: Guard
    before: Mapping[Way, Attributes] = field(default_factory=dict)

    def seen(self, sent: Sent, option: PathNormalization) -> Attributes | None:
        """What the filters see of `sent`; nothing where the proxy refuses it."""
        config = replace(self.case.group.config, path_normalization=option)
        try:
            return as_seen(sent, self.facts, config, self.workload.proxy)
        except Refused:
            return None

    def document(self, seen: Attributes) -> RequestDocument:
        return replace(self.case.document, attributes=seen)

    def by_the_reference(self, seen: Attributes) -> Decision:
        return self.case.group.by_the_reference(self.document(seen), frozenset(self.case.allowed_by))

    def by_the_tree(self, seen: Attributes) -> Decision:
        offline = Offline(at=0, allowed_by=frozenset(self.case.allowed_by))
        return decide(self.case.group.snapshot, self.document(seen), offline)

    def standing(self) -> Iterator[tuple[Way, Attributes]]:
        """The ways in which the request, once the proxy has had its own with it, is denied as the vector expects."""
        for option, version in WAYS:
            seen = self.seen(replace(self.sent, version=version), option)
            if seen is None:
                continue
            decision = self.by_the_reference(seen)
            if (decision.verdict.value, decision.stage.value) == ("DENY", self.case.expect["stage"]):
                yield (option, version), seen

    @property
    def askable(self) -> bool:
        """Whether it can be decided over the wire: without external authorizers, that is, and with a token only at sidecars."""
        return not self.guard.tree.providers and (self.facts.claims is None or self.workload.proxy is ProxyKind.SIDECAR)

    @property
    def snapshot(self) -> Snapshot:
        """The policies before the one workload, and somebody whose tokens it takes where the request has one."""
        tokens = RequestAuthentication(
            namespace=self.workload.namespace, name="any", jwt_rules=(JwtRule(issuer="https://idp.example"),)
        )
        return Snapshot(
            policies=self.case.group.policies,
            peer_authentications=self.case.group.peer_authentications,
            workloads=(self.workload,),
            config=self.case.group.config,
            revision="r1",
            request_authentications=() if self.facts.claims is None else (tokens,),
        )


@cache
def denials() -> tuple[Denial, ...]:
    return tuple(
        _denial(case)
        for file in (*FILES, OWN)
        for case in cases(file)
        if case.expect["verdict"] == "DENY" and case.expect["stage"] in ("deny", "allow", "custom")
    )


def _denial(case: Case) -> Denial:
    document = case.document
    labels = document.destination.labels or {}
    workload = Workload(namespace=document.destination.namespace or "", name="destination", labels=labels)
    given = document.attributes
    # What every connection has, and no vector need say.
    facts = replace(
        given,
        source_ip=given.source_ip or ip_address("10.1.2.3"),
        destination_ip=given.destination_ip or ip_address("10.0.0.9"),
        destination_port=8080 if given.destination_port is None else given.destination_port,
        remote_ip=given.remote_ip or given.source_ip or ip_address("10.1.2.3"),
        scheme=given.scheme or "https",
    )
    guard = case.group.snapshot.guard(workload, document.destination.service)
    denial = Denial(case, as_sent(facts), facts, Known.of(case.group.policies), workload, guard)
    return replace(denial, before=dict(denial.standing()))


@dataclass(frozen=True, slots=True)
class Trial:
    """One mutated request before one denial, as its filters see it."""

    denial: Denial
    option: PathNormalization
    sent: Sent
    before: Attributes
    after: Attributes

    def __str__(self) -> str:
        return f"{self.denial.case.why}\n{self.option.value} {self.sent}\nsaw {self.before}\nsees {self.after}"


@cache
def trials(mutation: Mutation) -> tuple[Trial, ...]:
    """What `mutation` makes of all denials, without what the proxy refuses, and each sight of a denial once for an option."""
    return tuple(trial for denial in denials() for trial in _trials(denial, mutation))


def _trials(denial: Denial, mutation: Mutation) -> Iterator[Trial]:
    tried: set[tuple[PathNormalization, str]] = set()
    for (option, version), before in denial.before.items():
        sent = replace(denial.sent, version=version)
        for mutated in mutation(sent, denial.known):
            after = denial.seen(mutated, option)
            sight = (option, repr(after))
            if after is not None and sight not in tried:
                tried.add(sight)
                yield Trial(denial, option, mutated, before, after)


def excused(trial: Trial, mutation: Mutation) -> bool:
    """Whether a gap says so, of an attribute that denied the request before, and that the mutation has changed."""
    return any(
        attribute.key in gap.attributes and attribute.read(trial.before) != attribute.read(trial.after)
        for gap in GAPS
        if gap.mutation is mutation and trial.option in gap.options
        for attribute in denied_by(trial)
    )


def denied_by(trial: Trial) -> frozenset[Attribute]:
    """What the rule looked at that denied the unmutated request, or all rules where it was denied for want of one."""
    denial = trial.denial
    match = denial.by_the_reference(trial.before).match
    if match is None:
        return denial.guard.tree.reads
    table = PredicateTable(trust_domains=denial.case.group.config.trust_domains)
    for policy in denial.case.group.policies:
        if policy.id == match.policy:
            table.lower(replace(policy, rules=policy.rules[match.rule : match.rule + 1]), trial.after.protocol)
    return frozenset(predicate.attribute for predicate in table)


def flips(mutation: Mutation) -> Iterator[Trial]:
    return (trial for trial in trials(mutation) if trial.denial.by_the_tree(trial.after).verdict is Verdict.ALLOW)


def name_of(mutation: Mutation) -> str:
    return mutation.__name__


@pytest.mark.parametrize("mutation", MUTATIONS, ids=name_of)
def test_what_is_denied_stays_denied_however_it_is_written(mutation: Mutation) -> None:
    through = [str(trial) for trial in flips(mutation) if not excused(trial, mutation)]
    assert through == []


@pytest.mark.parametrize("mutation", MUTATIONS, ids=name_of)
def test_a_mutated_request_is_decided_alike_by_the_reference_and_the_tree_and_over_the_wire(mutation: Mutation) -> None:
    asked = 0
    # What is asked does not say how its path was normalized.
    distinct = {(id(trial.denial), repr(trial.after)): trial for trial in trials(mutation)}.values()
    with Asking() as asking:
        snapshots = {id(trial.denial): trial.denial.snapshot for trial in distinct if trial.denial.askable}
        for trial in distinct:
            denial, after = trial.denial, trial.after
            tree, reference = denial.by_the_tree(after), denial.by_the_reference(after)
            # Where an authorizer was not asked, the one says why, and the other knows of none.
            assert replace(tree, reason=reference.reason) == reference, str(trial)
            assert tree.reason.startswith(reference.reason), str(trial)
            if not denial.askable:
                continue
            asked += 1
            allowed = {
                lines: asking.allowed(
                    snapshots[id(denial)],
                    question_of(after, lines, sni=trial.sent.sni, service=denial.case.document.destination.service),
                    workload=denial.workload.id,
                )
                for lines in Lines
            }
            assert allowed[Lines.APART] is (tree.verdict is Verdict.ALLOW), str(trial)
            # Joined lines may be read in several ways, and the most restrictive counts; but for bytes that do not get through.
            assert allowed[Lines.APART] or not allowed[Lines.JOINED] or "\\udc" in repr(after), str(trial)
    assert asked


@pytest.mark.parametrize("gap", GAPS, ids=lambda gap: name_of(gap.mutation))
def test_a_gap_is_one_for_as_long_as_it_stands_in_the_table(gap: Gap) -> None:
    assert gap.options == {trial.option for trial in flips(gap.mutation) if excused(trial, gap.mutation)}


# A read that is wrong in the way of a CVE, and the mutation that finds it.
FAULTS: Mapping[str, tuple[str, Callable[[Attributes, tuple[Value, ...]], tuple[Value, ...]], Mutation]] = {
    "CVE-2020-8595": ("request.path", lambda facts, _: (facts.path or "",), mutations.query),
    "CVE-2021-39155": ("request.host", lambda facts, _: (facts.host or "",), mutations.case_of_the_host),
    "CVE-2020-25017": ("request.headers", lambda _, values: values[:1], mutations.repeated_header),
    "CVE-2021-32777": ("request.headers", lambda _, values: values[-1:], mutations.repeated_header),
    "CVE-2026-26308": ("request.headers", lambda _, values: (",".join(map(str, values)),), mutations.repeated_header),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_the_past_would_be_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key, fault, mutation = FAULTS[name]
    tried = trials(mutation)
    right = KEYS[key]
    wrong = replace(right, read=lambda facts, argument: fault(facts, right.read(facts, argument)))
    monkeypatch.setitem(cast("dict[str, AttributeKey]", KEYS), key, wrong)
    assert any(
        trial.denial.by_the_reference(trial.after).verdict is Verdict.ALLOW and not excused(trial, mutation)
        for trial in tried
    )


def test_most_denials_are_put_to_the_test() -> None:
    # The others are of requests that no client can send, or that its proxy makes something else of.
    left_out = [denial.case.why for denial in denials() if not denial.before]
    assert len(left_out) < len(denials()) / 10, left_out


def test_every_denial_made_for_this_is_expected_as_it_is() -> None:
    for case in cases(OWN):
        for decision in case.decisions():
            assert as_expected(decision) == case.expect, case.why
