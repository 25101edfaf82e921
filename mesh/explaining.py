"""Explaining a request document: each step that a request comes to on its way, and what it came to there.

The decision is that of `mesh.deciding`, and so are the facts that the policies saw; the reasons are those of `authz.explain`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum

from authn import UnauthenticatedError, authenticate
from authz.attributes import Attributes, Protocol
from authz.decision import Decision, Stage, Verdict
from authz.explain import Explanation, explain
from authz.normalization import RefusedPathError
from authz.peer_authentication import PeerAuthentication, PortMode
from authz.secrecy import SECRET_HEADERS
from authz.span import Span
from authz.tree import DecisionTree
from authz.values import ascii_lower
from mesh.deciding import Offline, as_seen, decide, decide_as_sent, destination_of, only_port
from mesh.questions import guarding_of
from mesh.repairing import Repair, repair, too_many
from mesh.snapshot import Guard, Snapshot
from mesh.view import TokenRule, View, view
from parser.request import RequestDocument

__all__ = [
    "AuthorizerAnswer",
    "AuthorizerReport",
    "Explained",
    "MtlsReport",
    "Step",
    "TokenOutcome",
    "TokenReport",
    "explain_as_sent",
    "explain_document",
]


class Step(Enum):
    """What a request comes to, in this order."""

    PATH = "path"
    MTLS = "mtls"
    CUSTOM = "custom"
    JWT = "jwt"
    DENY = "deny"
    ALLOW = "allow"


_ORDER = tuple(Step)


@dataclass(frozen=True, slots=True, kw_only=True)
class MtlsReport:
    """What the port takes, where that is written if it is, and whether the caller showed a certificate that counts.

    `port` is none where the request does not say it and the workload has several.
    """

    port: int | None
    mode: PortMode
    place: Span | None


class AuthorizerAnswer(Enum):
    """What becomes of a request for which an external authorizer is to be asked."""

    ALLOWS = "allows"
    REFUSES = "refuses"
    SILENT = "silent"
    UNASKED = "unasked"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizerReport:
    """An external authorizer that CUSTOM policies name. `why` says why it is not asked, and is empty for those that are."""

    name: str
    answer: AuthorizerAnswer
    why: str = ""


class TokenOutcome(Enum):
    """What one rule, by itself, makes of a request."""

    ABSENT = "absent"
    ACCEPTED = "accepted"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenReport:
    """A rule for tokens, and what it makes of the request. `decides` is whether the request goes on, or does not, by this one.

    `reason` says why a token is refused, without the token.
    """

    token_rule: TokenRule
    outcome: TokenOutcome
    decides: bool
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """Why a request document is decided as it is.

    `step` is where it was decided; a request that nothing denies comes to the last. `attributes` are the facts as they were seen
    last: with the port of a workload that has one, without an identity where mTLS is switched off, with the claims of a token
    that was verified. `trust_domains` are those of the mesh. `claimed` is whether the document has claims itself, so that no tokens are looked at. `tokens` are there
    where they were, and `explanation` where the policies were asked; its `nearest` is the rule of `repair`, where a request like this can be allowed. `secret_headers` are those whose values are nobody's to see, in
    lower case, also those in which tokens are looked for.
    """

    decision: Decision
    step: Step
    view: View
    attributes: Attributes
    trust_domains: tuple[str, ...]
    claimed: bool
    mtls: MtlsReport
    authorizers: tuple[AuthorizerReport, ...]
    tokens: tuple[TokenReport, ...]
    explanation: Explanation | None
    secret_headers: frozenset[str]
    repair: Repair | None = None
    too_many_to_repair: bool = False

    def came_to(self, step: Step) -> bool:
        """Whether the request came as far as `step`."""
        return _ORDER.index(step) <= _ORDER.index(self.step)


def explain_document(snapshot: Snapshot, document: RequestDocument, offline: Offline) -> Explained:
    """Why `mesh.deciding.decide` decides as it does.

    Raises:
        UnknownWorkloadError: As `decide`.
    """
    seen: list[tuple[Attributes, frozenset[str]]] = []

    def watched(tree: DecisionTree, attributes: Attributes, /, *, allowed_by: frozenset[str]) -> Decision:
        seen.append((attributes, allowed_by))
        return tree.decide(attributes, allowed_by=allowed_by)

    decision = decide(snapshot, document, offline, watched)
    before = _unasked(snapshot, document, decision, Step.JWT if decision.stage is Stage.JWT else Step.MTLS)
    if not seen:
        return before if before.step is Step.MTLS else replace(before, tokens=_tokens(before.view, document, offline))
    attributes, allowed_by = seen[-1]
    step = _STEPS[decision.stage]
    explanation = explain(
        before.view.policies, attributes, trust_domains=snapshot.config.trust_domains, allowed_by=allowed_by
    )
    mended, many = None, False
    if decision.verdict is Verdict.DENY and step is not Step.CUSTOM:
        guarding = guarding_of(snapshot, before.view.workload, document.destination.service)
        mended, many = repair(guarding, attributes, explanation), too_many(guarding)
    if mended is not None and explanation.nearest is not None:
        explanation = replace(explanation, nearest=mended.nearest)
    return replace(
        before,
        step=step,
        attributes=attributes,
        authorizers=tuple(_authorizers(_guard(snapshot, document), attributes.protocol, offline)),
        tokens=() if step is Step.CUSTOM else _tokens(before.view, document, offline),
        explanation=explanation,
        repair=mended,
        too_many_to_repair=many,
    )


_STEPS = {Stage.CUSTOM: Step.CUSTOM, Stage.DENY: Step.DENY, Stage.ALLOW: Step.ALLOW, Stage.NONE: Step.ALLOW}


def explain_as_sent(snapshot: Snapshot, document: RequestDocument, offline: Offline) -> Explained:
    """As `explain_document`, for a request as the client sent it.

    Raises:
        UnknownWorkloadError: As `decide`.
    """
    try:
        return explain_document(snapshot, as_seen(snapshot, document), offline)
    except RefusedPathError:
        return _unasked(snapshot, document, decide_as_sent(snapshot, document, offline), Step.PATH)


def _guard(snapshot: Snapshot, document: RequestDocument) -> Guard:
    return snapshot.guard(destination_of(snapshot, document), document.destination.service)


def _unasked(snapshot: Snapshot, document: RequestDocument, decision: Decision, step: Step) -> Explained:
    """What there is to say of a request that no policy was asked about."""
    workload = destination_of(snapshot, document)
    port = document.attributes.destination_port
    port = only_port(workload) if port is None else port
    mode = _guard(snapshot, document).mode(port)
    before = view(snapshot, workload, document.destination.service)
    looked_in = {ascii_lower(header.name) for _, rule, _ in before.tokens for header in rule.from_headers}
    return Explained(
        decision=decision,
        step=step,
        view=before,
        attributes=replace(document.attributes, destination_port=port),
        trust_domains=snapshot.config.trust_domains,
        claimed=document.attributes.claims is not None,
        mtls=MtlsReport(port=port, mode=mode, place=_place(snapshot, mode, port)),
        authorizers=(),
        tokens=(),
        explanation=None,
        secret_headers=SECRET_HEADERS | looked_in,
    )


def _place(snapshot: Snapshot, mode: PortMode, port: int | None) -> Span | None:
    peers = (peer for peer in snapshot.peer_authentications if peer.id == mode.by)
    return next((_span(peer, port) for peer in peers), None)


def _span(peer: PeerAuthentication, port: int | None) -> Span | None:
    """Where a PeerAuthentication says what `port` takes."""
    its_port = ("spec", "portLevelMtls", str(port)) if port in peer.port_modes else ("spec", "mtls")
    paths = (its_port, ("spec", "mtls"), ("spec",), ())
    return next((span for path in paths if (span := peer.spans.get(path)) is not None), None)


def _authorizers(guard: Guard, protocol: Protocol, offline: Offline) -> Iterator[AuthorizerReport]:
    authorizers = guard.authorizers
    for name in sorted(guard.tree.providers):
        if name in authorizers.passed(protocol):
            yield AuthorizerReport(name=name, answer=AuthorizerAnswer.SILENT, why="it is asked about HTTP only")
        elif name not in authorizers.asked:
            yield AuthorizerReport(name=name, answer=AuthorizerAnswer.UNASKED, why=authorizers.why_not(name))
        elif name in offline.allowed_by:
            yield AuthorizerReport(name=name, answer=AuthorizerAnswer.ALLOWS)
        else:
            yield AuthorizerReport(name=name, answer=AuthorizerAnswer.REFUSES)


def _tokens(before: View, document: RequestDocument, offline: Offline) -> tuple[TokenReport, ...]:
    """What each rule makes of the request by itself, and which of them decides when they are tried together."""
    attributes = document.attributes
    if attributes.claims is not None:
        return ()
    rules = tuple(rule for _, rule, _ in before.tokens)
    try:
        deciding = authenticate(rules, attributes, key_sets=offline.key_sets, at=offline.at).rule
    except UnauthenticatedError as error:
        deciding = error.rule
    return tuple(
        _token(token_rule, attributes, offline, decides=index == deciding)
        for index, token_rule in enumerate(before.tokens)
    )


def _token(token_rule: TokenRule, attributes: Attributes, offline: Offline, *, decides: bool) -> TokenReport:
    try:
        own = authenticate((token_rule.rule,), attributes, key_sets=offline.key_sets, at=offline.at)
    except UnauthenticatedError as error:
        return TokenReport(
            token_rule=token_rule,
            outcome=TokenOutcome.REFUSED,
            decides=decides,
            reason=f"{error.status.value}: {error.reason}",
        )
    outcome = TokenOutcome.ABSENT if own.rule is None else TokenOutcome.ACCEPTED
    return TokenReport(token_rule=token_rule, outcome=outcome, decides=decides)
