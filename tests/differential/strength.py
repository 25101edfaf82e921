"""How much a comparison tries: which ways to decide it meets, and which parts of policies matched and did not."""

from collections import Counter
from collections.abc import Iterable, Iterator

from authz.decision import Stage, Verdict
from authz.model import Action, Operation, Rule, Source, field_name
from parser.resource_document import fields_of
from tests.differential.cases import Case, Http
from tests.differential.comparison import Comparison
from tests.differential.reading import Decided

__all__ = ["never_met", "outcomes"]

# A field or key of a policy, `not` before it where it says what is unwanted, and the kind of value that stands there.
_Part = tuple[str, str]
_HIT, _MISS = "matched", "did not match"


def outcomes(comparisons: Iterable[Comparison]) -> Counter[str]:
    """How often Envoy decided in which stage and how, on what, and how often it turned a request away by itself."""
    met: Counter[str] = Counter()
    for comparison in comparisons:
        for question, both in zip(comparison.case.questions, comparison.results, strict=True):
            decided = both.native.decided
            met["all"] += 1
            met["HTTP" if isinstance(question, Http) else "TCP"] += 1
            met["plaintext" if question.connection.caller is None else "mTLS"] += 1
            if isinstance(question, Http):
                met[question.version.value] += 1
            if decided is None:
                met["turned away"] += 1
                continue
            met[f"{decided.verdict.value} in {decided.stage.value}"] += 1
            met["audited"] += decided.audit
            met["dry run"] += decided.dry_run_deny is not None or decided.dry_run_allow is not None
    return met


def never_met(comparisons: Iterable[Comparison]) -> set[tuple[str, str]]:
    """The fields, keys and kinds of values that were never in a rule that decided, or never in one that did not match.

    What no policy says at all is not among them.
    """
    counted: Counter[tuple[str, str]] = Counter()
    for (part, result), times in _parts(comparisons).items():
        for name in part:
            counted[name, result] += times
    return {(name, result) for name, _ in counted for result in (_HIT, _MISS) if (name, result) not in counted}


def _parts(comparisons: Iterable[Comparison]) -> Counter[tuple[_Part, str]]:
    met: Counter[tuple[_Part, str]] = Counter()
    for comparison in comparisons:
        for both in comparison.results:
            if both.native.decided is not None:
                met.update((part, _HIT) for part in _parts_of(_deciding(comparison.case, both.native.decided)))
                met.update((part, _MISS) for part in _parts_of(_missed(comparison.case, both.native.decided)))
    return met


def _deciding(case: Case, decided: Decided) -> Iterator[Rule]:
    if decided.match is not None:
        yield next(policy for policy in case.policies if policy.id == decided.match.policy).rules[decided.match.rule]


def _missed(case: Case, decided: Decided) -> Iterator[Rule]:
    """The enforced rules of every stage that was passed without a match."""
    passed = {Action.CUSTOM, Action.DENY}
    match decided.stage:
        case Stage.CUSTOM | Stage.JWT:
            passed = set()
        case Stage.DENY:
            passed = {Action.CUSTOM}
        case Stage.ALLOW if decided.verdict is Verdict.DENY:
            passed |= {Action.ALLOW}
        case _:
            pass
    for policy in case.policies:
        if policy.action in passed and not policy.dry_run:
            yield from policy.rules


def _parts_of(rules: Iterable[Rule]) -> Iterator[_Part]:
    for rule in rules:
        for name, wanted, unwanted in _lists(rule):
            yield from ((name, _kind(value)) for value in wanted)
            yield from ((f"not {name}", _kind(value)) for value in unwanted)


def _lists(rule: Rule) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    parts: list[Source | Operation] = [*rule.sources, *rule.operations]
    for part in parts:
        for field, wanted, unwanted in fields_of(part):
            yield field_name(field), wanted, unwanted
    for condition in rule.conditions:
        yield condition.key.partition("[")[0], condition.values, condition.not_values


def _kind(value: str) -> str:
    match value:
        case "*":
            return "present"
        case _ if "{" in value:
            return "template"
        case _ if value.startswith("["):
            return "in list"
        case _ if value.startswith("*"):
            return "suffix"
        case _ if value.endswith("*"):
            return "prefix"
        case _:
            return "exact"
