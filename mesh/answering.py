"""Answering: why a request is decided as it is, in at most four lines."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from authz.decision import Match, Stage, Verdict
from authz.explain import ClauseReport, Explanation, PartReport, PolicyReport, RuleReport
from authz.span import Span
from mesh.explaining import AuthorizerAnswer, Explained, Step, TokenReport
from mesh.wording import change, held, is_meaningless

__all__ = ["Answer", "answer_of", "place_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The verdict with its reason, and at most three lines more, each behind a label: `nearest`, `to change`."""

    headline: str
    lines: tuple[tuple[str, str], ...]


def answer_of(explained: Explained) -> Answer:
    """What decided, what came nearest, and what would have to change."""
    decision = explained.decision
    return Answer(
        headline=f"{decision.verdict.value} {decision.status}  {decision.reason}", lines=tuple(_lines(explained))
    )


def place_of(span: Span | None) -> str:
    """` (file:line:column)`, or nothing where the place is not known."""
    return "" if span is None else f" ({span})"


def _lines(explained: Explained) -> Iterator[tuple[str, str]]:
    match explained.step:
        case Step.PATH:
            yield "decided by", "the proxy, before any policy is asked"
            yield "to change", "the path as the client sends it"
        case Step.MTLS:
            yield from _plaintext(explained)
        case Step.JWT:
            yield from _bad_token(explained)
        case Step.CUSTOM:
            yield from _unauthorized(explained)
        case Step.DENY:
            yield from _denied(explained)
        case Step.ALLOW if explained.decision.verdict is Verdict.DENY:
            yield from _not_allowed(explained)
        case Step.ALLOW:
            yield from _allowed(explained)


# Before the policies --------------------------------------------------------------------------------------------------


def _plaintext(explained: Explained) -> Iterator[tuple[str, str]]:
    mtls = explained.mtls
    port = "the port" if mtls.port is None else f"port {mtls.port}"
    yield "decided by", f"PeerAuthentication {mtls.mode.by}{place_of(mtls.place)}: {port} takes {mtls.mode.mode.value}"
    yield "seen", "source.principal is absent: the caller shows no certificate"
    yield "to change", "call over mTLS, with a certificate of the mesh"


def _bad_token(explained: Explained) -> Iterator[tuple[str, str]]:
    token = next((token for token in explained.tokens if token.decides), None)
    if token is not None:
        rule = token.token_rule
        yield "decided by", f"RequestAuthentication {rule.id}{place_of(rule.place)}"
    yield from _other_refusals(explained.tokens)
    yield "to change", "send a token that a rule accepts, or none at all"


def _other_refusals(tokens: Sequence[TokenReport]) -> Iterator[tuple[str, str]]:
    others = [f"{token.token_rule.id}: {token.reason}" for token in tokens if token.reason and not token.decides]
    if others:
        yield "also", "; ".join(others)


# The policies ---------------------------------------------------------------------------------------------------------


def _unauthorized(explained: Explained) -> Iterator[tuple[str, str]]:
    report, rule = _deciding(explained)
    name = report.policy.provider or ""
    answer = next((each for each in explained.authorizers if each.name == name), None)
    yield "decided by", f"{_match(rule.match, report)}, which asks `{name}`"
    yield "matched", _matched(rule, explained)
    if answer is not None and answer.answer is AuthorizerAnswer.UNASKED:
        yield "to change", f"the mesh configuration, so that `{name}` can be asked; or {_so_that_it_fails(rule)}"
    else:
        remedy = f"what `{name}` says: it is taken to refuse without `--allowed-by {name}`"
        yield "to change", f"{remedy}; or {_so_that_it_fails(rule)}"


def _denied(explained: Explained) -> Iterator[tuple[str, str]]:
    report, rule = _deciding(explained)
    others = len(_held(explained, Stage.DENY)) - 1
    more = f", and {_counted(others, 'other rule matches', 'other rules match')}" if others else ""
    yield "decided by", _match(rule.match, report) + more
    yield "matched", _matched(rule, explained)
    too = ", nor the others" if others else ""
    yield "to change", f"{_so_that_it_fails(rule)}{too}; {_then(explained)}"


def _then(explained: Explained) -> str:
    """What comes of a request that no DENY rule matches any more."""
    explanation = _explanation(explained)
    allowing = _policies(explanation, Stage.ALLOW)
    if not allowing:
        return "then it is allowed, for no policy says what is"
    if matching := _held(explained, Stage.ALLOW):
        return f"then {_match(matching[0].match, _report(explained, matching[0].match))} allows it"
    if explanation.nearest is None:
        return "and then no ALLOW rule can match"
    nearest = explanation.nearest
    return f"and then for {_match(nearest.match, _report(explained, nearest.match))}: {_changes(nearest.missing, explained)}"


def _not_allowed(explained: Explained) -> Iterator[tuple[str, str]]:
    explanation = _explanation(explained)
    policies = _policies(explanation, Stage.ALLOW)
    rules = [rule for report in policies for rule in report.rules]
    yield "decided by", _no_rule(policies) if rules else _allows_nothing(policies)
    nearest = explanation.nearest
    if nearest is None:
        dropped = next((rule for rule in rules if rule.dropped is not None), None)
        if dropped is None:
            yield "to change", "the policies: nothing that a request says can make it allowed"
            return
        yield (
            "nearest",
            f"none: {_match(dropped.match, _report(explained, dropped.match))} is left out, {dropped.dropped}",
        )
        yield "to change", "the policies: no rule is left that could allow this"
        return
    count = _counted(len(nearest.missing), "clause fails", "clauses fail")
    yield "nearest", f"{_match(nearest.match, _report(explained, nearest.match))}, of which {count}"
    yield "to change", _changes(nearest.missing, explained) + _besides(explained)


def _besides(explained: Explained) -> str:
    """What else must be otherwise, or that it is of no use: each change was tried."""
    if explained.repair is None:
        return "" if explained.too_many_to_repair else "; but then another rule denies it, whatever else it is like"
    if not explained.repair.besides:
        return ""
    return f"; and {' and '.join(explained.repair.besides)}, for as it is another rule denies it then"


def _no_rule(policies: Sequence[PolicyReport]) -> str:
    count = sum(len(report.rules) for report in policies)
    if count == 1:
        return "no rule: the only ALLOW rule that applies does not match"
    return f"no rule: of {count} ALLOW rules in {_counted(len(policies), 'policy', 'policies')} that apply none matches"


def _allows_nothing(policies: Sequence[PolicyReport]) -> str:
    first, *others = policies
    more = f", nor {_counted(len(others), 'other', 'others')}" if others else ""
    return f"{first.policy.id}{place_of(first.policy.span('spec'))} has no rules, so it allows nothing{more}"


def _allowed(explained: Explained) -> Iterator[tuple[str, str]]:
    if explained.decision.match is None:
        yield "decided by", "no rule: no policy says what is allowed, so all is that nothing denies"
        return
    report, rule = _deciding(explained)
    yield "decided by", _match(rule.match, report)
    yield "matched", _matched(rule, explained)


# Words for them -------------------------------------------------------------------------------------------------------


def _explanation(explained: Explained) -> Explanation:
    if explained.explanation is None:
        raise ValueError("no policy was asked")
    return explained.explanation


def _policies(explanation: Explanation, stage: Stage) -> Sequence[PolicyReport]:
    return next(each.policies for each in explanation.stages if each.stage is stage)


def _held(explained: Explained, stage: Stage) -> list[RuleReport]:
    policies = _policies(_explanation(explained), stage)
    return [rule for report in policies for rule in report.rules if rule.held]


def _report(explained: Explained, match: Match) -> PolicyReport:
    reports = (report for stage in _explanation(explained).stages for report in stage.policies)
    return next(report for report in reports if match in [rule.match for rule in report.rules])


def _deciding(explained: Explained) -> tuple[PolicyReport, RuleReport]:
    match = explained.decision.match
    if match is None:
        raise ValueError("no rule decided")
    report = _report(explained, match)
    return report, report.rules[match.rule]


def _match(match: Match, report: PolicyReport) -> str:
    place = report.policy.span("spec", "rules", match.rule)
    return f"{match.policy}#{match.rule}{place_of(place)}"


def _matched(rule: RuleReport, explained: Explained) -> str:
    clauses = _that_held(rule)
    if not clauses:
        return "everything: the rule asks for nothing"
    return "; ".join(held(clause, explained.secret_headers) for clause in clauses)


def _that_held(rule: RuleReport) -> list[ClauseReport]:
    """Of a rule that holds the clauses that made it hold: of alternatives the first that does."""
    parts = [part for half in (rule.sources, rule.operations) for part in [*filter(_part_held, half)][:1]]
    return [*(clause for part in parts for clause in part.clauses), *rule.conditions]


def _part_held(part: PartReport) -> bool:
    return part.held


def _so_that_it_fails(rule: RuleReport) -> str:
    count = sum(not is_meaningless(clause) for clause in _that_held(rule))
    if not count:
        return "the policy: as it is, its rule is for everything here"
    several = any(sum(map(_part_held, half)) > 1 for half in (rule.sources, rule.operations))
    which = "this" if count == 1 else "one of these"
    return f"{which} must not hold{', nor what else matches of the rule' if several else ''}"


def _changes(clauses: Sequence[ClauseReport], explained: Explained) -> str:
    return "; ".join(
        change(clause, explained.secret_headers, trust_domains=explained.trust_domains) for clause in clauses
    )


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
