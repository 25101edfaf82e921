"""Why a request is decided as it is, as people read it and as data."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from authz.decision import Stage, Verdict
from authz.explain import ClauseReport, PartReport, PolicyReport, RuleReport, missing, stage_of
from authz.model import Policy
from authz.peer_authentication import MtlsMode
from authz.span import Span
from authz.workload import ProxyKind
from mesh.answering import answer_of, place_of
from mesh.deciding import decision_document
from mesh.explaining import AuthorizerAnswer, AuthorizerReport, Explained, Step, TokenOutcome, TokenReport
from mesh.wording import asked, attribute_name, seen, seen_values
from parser.excerpt import visible
from parser.resource_document import Resource

__all__ = ["document_of_explained", "text_of_explained"]

_LABEL = 11
_MANY = 20


# What became of a request at each step --------------------------------------------------------------------------------


class Outcome(Enum):
    """What a step came to."""

    PASSED = "passed"
    DENIED = "denied"
    ALLOWED = "allowed"
    UNASKED = "not asked"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A step, what it came to, and what there is to say of it."""

    step: Step
    outcome: Outcome
    words: str
    notes: Sequence[str] = ()
    policies: Sequence[PolicyReport] = ()


def _rows(explained: Explained) -> Iterator[_Row]:
    if explained.step is Step.PATH:
        yield _row(explained, Step.PATH, explained.decision.reason)
    yield _row(explained, Step.MTLS, _mtls(explained))
    authorizers = [*map(_authorizer, explained.authorizers)]
    yield _row(explained, Step.CUSTOM, _rules(explained, Stage.CUSTOM, "matches"), notes=authorizers)
    yield _row(explained, Step.JWT, _jwt(explained), notes=[*map(_token, explained.tokens)])
    yield _row(explained, Step.DENY, _rules(explained, Stage.DENY, "denies"))
    yield _row(explained, Step.ALLOW, _rules(explained, Stage.ALLOW, "allows"))


def _row(explained: Explained, step: Step, words: str, *, notes: Sequence[str] = ()) -> _Row:
    if not explained.came_to(step):
        outcome = Outcome.UNASKED
    elif step is not explained.step:
        outcome = Outcome.PASSED
    else:
        outcome = Outcome.DENIED if explained.decision.verdict is Verdict.DENY else Outcome.ALLOWED
    return _Row(step=step, outcome=outcome, words=words, notes=notes, policies=_reports(explained, step))


def _reports(explained: Explained, step: Step) -> Sequence[PolicyReport]:
    match step:
        case Step.CUSTOM:
            return _of_stage(explained, Stage.CUSTOM)
        case Step.DENY:
            return _of_stage(explained, Stage.DENY)
        case Step.ALLOW:
            return _of_stage(explained, Stage.ALLOW)
        case _:
            return ()


def _of_stage(explained: Explained, stage: Stage) -> Sequence[PolicyReport]:
    """The policies of a stage, as far as it can be told what they make of the request.

    What would come after an authorizer's denial cannot: it would see what the authorizer and the tokens add.
    """
    if explained.explanation is None or (explained.step is Step.CUSTOM and stage is not Stage.CUSTOM):
        return ()
    return next(each.policies for each in explained.explanation.stages if each.stage is stage)


def _mtls(explained: Explained) -> str:
    if explained.view.workload.proxy is not ProxyKind.SIDECAR:
        return f"no PeerAuthentication speaks for a {explained.view.workload.proxy.value}; {_caller(explained)}"
    mode, by = explained.mtls.mode
    where = "" if explained.mtls.port is None else f"port {explained.mtls.port} takes "
    who = "nobody has an identity" if mode is MtlsMode.DISABLE else _caller(explained)
    return f"{where}{mode.value} by {by or 'default'}{place_of(explained.mtls.place)}; {who}"


def _caller(explained: Explained) -> str:
    identities = explained.attributes.identities
    return f"the caller is {', '.join(identities)}" if identities else "the caller shows no certificate"


def _authorizer(report: AuthorizerReport) -> str:
    name = report.name or "no name"
    match report.answer:
        case AuthorizerAnswer.ALLOWS:
            return f"`{name}` is taken to let it through"
        case AuthorizerAnswer.REFUSES:
            return f"`{name}` is taken to refuse"
        case AuthorizerAnswer.SILENT | AuthorizerAnswer.UNASKED:
            return f"`{name}` is not asked: {report.why}"


def _jwt(explained: Explained) -> str:
    if explained.claimed:
        return "the claims in the request count as verified"
    if not explained.view.tokens:
        return "no RequestAuthentication applies, so no token is looked at"
    if not explained.came_to(Step.JWT):
        return _counted(len(explained.view.tokens), "rule applies", "rules apply")
    decides = [token.token_rule.id for token in explained.tokens if token.decides]
    if not decides:
        return "no rule finds a token, so the caller is anonymous"
    return f"{decides[0]} {'refuses' if explained.step is Step.JWT else 'accepts'} the token"


def _token(report: TokenReport) -> str:
    issuer = f"of {report.token_rule.rule.issuer}" if report.token_rule.rule.issuer else "of any issuer"
    rule = f"{report.token_rule.id}{place_of(report.token_rule.place)}"
    match report.outcome:
        case TokenOutcome.ABSENT:
            return f"{rule} finds no token {issuer}"
        case TokenOutcome.ACCEPTED:
            return f"{rule} accepts the token, {issuer}"
        case TokenOutcome.REFUSED:
            return f"{rule} refuses the token: {report.reason}"


def _rules(explained: Explained, stage: Stage, does: str) -> str:
    policies = _of_stage(explained, stage)
    if not policies:
        return _applying(explained, stage)
    decision = explained.decision
    if decision.stage is stage and decision.match is not None:
        return f"{decision.match.policy}#{decision.match.rule} {does}"
    rules = [rule for report in policies for rule in report.rules]
    held = sum(rule.held for rule in rules)
    if held:
        return f"{held} of {_counted(len(rules), 'rule matches', 'rules match')}"
    return f"none of {_counted(len(rules), 'rule', 'rules')} matches" if rules else "the policies have no rules"


def _applying(explained: Explained, stage: Stage) -> str:
    """Of policies that were not asked, how many there are."""
    count = sum(stage_of(policy) is stage for policy in explained.view.policies)
    if count:
        return _counted(count, "policy applies", "policies apply")
    return (
        "no policy says what is allowed, so all is that nothing denies" if stage is Stage.ALLOW else "no policy applies"
    )


# As text --------------------------------------------------------------------------------------------------------------

_SIGNS = {Outcome.PASSED: "✓", Outcome.DENIED: "✗", Outcome.ALLOWED: "✓", Outcome.UNASKED: "·"}


def text_of_explained(explained: Explained, *, every: bool) -> str:
    """The answer in four lines, and then all of it; `every` is whether to leave nothing out.

    Otherwise of rules that do not match, where they are many, only those are in it that came nearest, and of policies that do
    not apply those that are written where others do.
    """
    return "".join(f"{visible(line)}\n" for line in _lines(explained, every=every))


def _lines(explained: Explained, *, every: bool) -> Iterator[str]:
    answer = answer_of(explained)
    yield answer.headline
    for label, text in answer.lines:
        yield f"  {label:{_LABEL}} {text}"
    yield ""
    yield _title(explained)
    for row in _rows(explained):
        yield f"  {_SIGNS[row.outcome]} {row.step.value:7}{_words(row)}"
        for note in row.notes:
            yield f"      {note}"
        yield from _policy_lines(row.policies, explained, every=every)
    if beside := _of_stage(explained, Stage.NONE):
        yield "  · beside these, which decide nothing"
        yield from _policy_lines(beside, explained, every=every)
    yield from _other_lines(explained, every=every)


def _words(row: _Row) -> str:
    return f"not asked: {row.words}" if row.outcome is Outcome.UNASKED else row.words


def _title(explained: Explained) -> str:
    workload, service = explained.view.workload, explained.view.service
    name = workload.id if workload.name else f"a workload in {workload.namespace}"
    through = "" if service is None else f", for the service {service.namespace}/{service.name}"
    return f"{name} ({workload.proxy.value}{through})"


def _policy_lines(policies: Sequence[PolicyReport], explained: Explained, *, every: bool) -> Iterator[str]:
    """The rules of `policies`. Of many that do not match, those that come nearest are shown, unless it is to be `every` one."""
    rules = [rule for report in policies for rule in report.rules]
    failing = [rule for rule in rules if not rule.held]
    hidden = set[int]()
    if not every and len(failing) > _MANY:
        failing.sort(key=lambda rule: (rule.dropped is not None, len(missing(rule))))
        hidden.update(map(id, failing[_MANY:]))
    for report in policies:
        if not report.rules:
            place = place_of(report.policy.span("spec"))
            yield f"      ✗ {report.policy.id}{_kind(report.policy)} has no rules, so it matches nothing{place}"
        for rule in report.rules:
            if id(rule) not in hidden:
                yield from _rule_lines(rule, report.policy, explained)
    if hidden:
        yield f"      {_counted(len(hidden), 'more rule does', 'more rules do')} not match, --all shows every one"


def _kind(policy: Policy) -> str:
    """What else is to be known of a policy: whom it asks, or that it decides nothing."""
    if policy.provider is not None:
        return f", which asks `{policy.provider}`,"
    if policy.dry_run:
        return f", a dry run of {policy.action.value},"
    return ", an audit," if stage_of(policy) is Stage.NONE else ""


def _rule_lines(rule: RuleReport, policy: Policy, explained: Explained) -> Iterator[str]:
    place = place_of(policy.span("spec", "rules", rule.match.rule))
    result = "matches" if rule.held else "does not match" if rule.dropped is None else f"is left out: {rule.dropped}"
    if not (rule.sources or rule.operations or rule.conditions):
        result += " whatever is asked"
    yield f"      {_sign(held=rule.held)} {policy.id}#{rule.match.rule}{_kind(policy)} {result}{place}"
    for word, parts in (("from", rule.sources), ("to", rule.operations)):
        for index, part in enumerate(parts):
            yield from _part_lines(f"or {word}" if index else word, part.clauses, policy, explained)
    yield from _part_lines("when", rule.conditions, policy, explained)


def _part_lines(word: str, clauses: Sequence[ClauseReport], policy: Policy, explained: Explained) -> Iterator[str]:
    for clause in clauses:
        line = _line_of(policy.span(*clause.path))
        saw = seen(clause, explained.secret_headers)
        yield f"          {word:7} {_sign(held=clause.held)} {asked(clause)}  {saw}{line}"
        word = ""


def _line_of(span: Span | None) -> str:
    return "" if span is None else f"  (line {span.line})"


def _sign(*, held: bool) -> str:
    return "✓" if held else "✗"


def _other_lines(explained: Explained, *, every: bool) -> Iterator[str]:
    near = explained.view.others if every else _near(explained)
    for resource, reason in near:
        yield f"  not {_named(resource)}: {reason}"
    if left := len(explained.view.others) - len(near):
        yield f"  {_counted(left, 'policy', 'policies')} of other namespaces {'does' if left == 1 else 'do'} not apply, --all says why"


def _near(explained: Explained) -> Sequence[tuple[Resource, str]]:
    """Of the policies that do not apply those in the namespaces of which some do: they may have been meant to."""
    namespace = explained.view.workload.namespace
    looked_into = {namespace} | {policy.namespace for policy in explained.view.policies}
    return [each for each in explained.view.others if each[0].namespace in looked_into]


def _named(resource: Resource) -> str:
    return resource.id if isinstance(resource, Policy) else f"{type(resource).__name__} {resource.id}"


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


# As data --------------------------------------------------------------------------------------------------------------


def document_of_explained(explained: Explained, *, revision: str) -> dict[str, Any]:
    """All of it as plain data; the decision is as `check` writes it."""
    answer, view = answer_of(explained), explained.view
    document = {
        **decision_document(explained.decision, revision=revision),
        "answer": [answer.headline, *(f"{label}: {text}" for label, text in answer.lines)],
        "workload": view.workload.id if view.workload.name else None,
        "namespace": view.workload.namespace,
        "proxy": view.workload.proxy.value,
        "service": None if view.service is None else f"{view.service.namespace}/{view.service.name}",
        "steps": [_step(row, explained) for row in _rows(explained)],
        "beside": [_policy(report, explained) for report in _of_stage(explained, Stage.NONE)],
        "nearest": _nearest(explained),
        "others": [
            {"kind": _kind_name(resource), "policy": resource.id, "because": reason} for resource, reason in view.others
        ],
    }
    readable: dict[str, Any] = _readable(document)
    return readable


def _step(row: _Row, explained: Explained) -> dict[str, Any]:
    return {
        "step": row.step.value,
        "outcome": row.outcome.value,
        "words": row.words,
        "notes": list(row.notes),
        "policies": [_policy(report, explained) for report in row.policies],
    }


def _policy(report: PolicyReport, explained: Explained) -> dict[str, Any]:
    policy = report.policy
    return {
        "policy": policy.id,
        "action": policy.action.value,
        "dry_run": policy.dry_run,
        "provider": policy.provider,
        "place": _place(policy.span("spec")),
        "rules": [_rule(rule, policy, explained) for rule in report.rules],
    }


def _rule(rule: RuleReport, policy: Policy, explained: Explained) -> dict[str, Any]:
    def part(report: PartReport) -> dict[str, Any]:
        return {"held": report.held, "clauses": [_clause(clause, policy, explained) for clause in report.clauses]}

    return {
        "rule": rule.match.rule,
        "held": rule.held,
        "dropped": rule.dropped,
        "place": _place(policy.span("spec", "rules", rule.match.rule)),
        "from": list(map(part, rule.sources)),
        "to": list(map(part, rule.operations)),
        "when": [_clause(clause, policy, explained) for clause in rule.conditions],
    }


def _clause(clause: ClauseReport, policy: Policy, explained: Explained) -> dict[str, Any]:
    return {
        "field": clause.field,
        "attribute": None if clause.attribute is None else attribute_name(clause),
        "values": list(clause.values),
        "negated": clause.negated,
        "meaningless": list(clause.meaningless),
        "seen": seen_values(clause, explained.secret_headers),
        "held": clause.held,
        "place": _place(policy.span(*clause.path)),
        "words": [asked(clause), seen(clause, explained.secret_headers)],
    }


def _nearest(explained: Explained) -> dict[str, Any] | None:
    nearest = None if explained.explanation is None else explained.explanation.nearest
    if nearest is None or explained.step is Step.CUSTOM:
        return None
    policy = next(policy for policy in explained.view.policies if policy.id == nearest.match.policy)
    return {
        "policy": nearest.match.policy,
        "rule": nearest.match.rule,
        "place": _place(policy.span("spec", "rules", nearest.match.rule)),
        "missing": [_clause(clause, policy, explained) for clause in nearest.missing],
    }


def _place(span: Span | None) -> dict[str, Any] | None:
    return None if span is None else {"file": span.file, "line": span.line, "column": span.column}


def _kind_name(resource: Resource) -> str:
    return "AuthorizationPolicy" if isinstance(resource, Policy) else type(resource).__name__


def _readable(value: Any) -> Any:
    """As JSON can hold it: bytes that are no UTF-8 are written out."""
    match value:
        case str():
            return value if value.isascii() else value.encode(errors="backslashreplace").decode()
        case dict():
            return {key: _readable(each) for key, each in value.items()}
        case list():
            return list(map(_readable, value))
        case _:
            return value
