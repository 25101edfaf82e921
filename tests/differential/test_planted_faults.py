"""Tests of the comparison: a fault on either side must not go unseen.

On one side the faults are in the second translation, on the other in what meshward decides by. Each is one that somebody
could make in an hour of hurry. If one is no longer noticed, the generators have grown dull.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from random import Random

import pytest

from authz import keys, matcher, semantics, values
from authz.attributes import Attributes, Protocol, Value
from authz.matcher import Matcher, Suffix
from authz.model import Action, Policy, Rule
from demo.sidecar import Json
from tests.differential import comparison, emitter, jwt_emitter
from tests.differential.bootstrap import Slot
from tests.differential.cases import Case, Mesh
from tests.differential.comparison import compare
from tests.differential.generator import random_case, random_questions
from tests.differential.reference import deciding_by_the_reference
from tests.differential.report import differences
from tests.differential.token_cases import random_token_case, random_token_questions

MESH = Mesh(trust_domains=("td.example", "old.example"))

Plant = Callable[[pytest.MonkeyPatch], None]


def take_a_suffix_for_a_prefix(patch: pytest.MonkeyPatch) -> None:
    original = emitter._text

    def text(value: str) -> Json:
        written = original(value)
        return {"prefix": written["suffix"]} if "suffix" in written else written

    patch.setattr(emitter, "_text", text)


def forget_what_is_unwanted(patch: pytest.MonkeyPatch) -> None:
    original = emitter._Generator.constraint
    patch.setattr(emitter._Generator, "constraint", lambda self, values, _, chain: original(self, values, (), chain))


def leave_a_dot_for_any_character(patch: pytest.MonkeyPatch) -> None:
    original = emitter._quoted
    patch.setattr(emitter, "_quoted", lambda literal: original(literal).replace("\\.", "."))


def keep_the_query_of_paths(patch: pytest.MonkeyPatch) -> None:
    original = emitter._path

    def path(value: str, chain: emitter._Chain) -> list[Json]:
        return original(value, chain) if "{" in value else emitter._header(":path")(value, chain)

    paths = emitter._Generator(emitter._PERMISSION, path, http_only=True)
    patch.setattr(emitter, "_OPERATION", {**emitter._OPERATION, "paths": paths})


def forget_the_aliases_of_the_trust_domain(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(emitter, "_in_every_domain", lambda value, _: [value])


def number_rules_by_those_that_are_left(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        emitter, "_id", lambda policy, index: f"ns[{policy.namespace}]-policy[{policy.name}]-rule[{index + 1}]"
    )


def enforce_dry_runs(patch: pytest.MonkeyPatch) -> None:
    original = emitter._rules

    def rules(action: Action, policies: list[Policy], protocol: Protocol, trust_domains: tuple[str, ...]) -> Json:
        return original(action, [policy for policy in policies if not policy.dry_run], protocol, trust_domains)

    patch.setattr(emitter, "_rules", rules)


# Tokens


def change_providers(patch: pytest.MonkeyPatch, **fields: object) -> None:
    original = jwt_emitter._provider
    patch.setattr(jwt_emitter, "_provider", lambda rule, *, gateway: original(rule, gateway=gateway) | fields)


def let_the_token_through(patch: pytest.MonkeyPatch) -> None:
    change_providers(patch, forward=True)


def take_any_audience(patch: pytest.MonkeyPatch) -> None:
    change_providers(patch, audiences=[])


def split_no_claims(patch: pytest.MonkeyPatch) -> None:
    change_providers(patch, normalize_payload_in_metadata={})


def demand_a_token(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(jwt_emitter, "_requirement", lambda names: {"provider_name": names[0]})


def look_at_the_last_rule_first(patch: pytest.MonkeyPatch) -> None:
    original = jwt_emitter._requirement
    patch.setattr(jwt_emitter, "_requirement", lambda names: original(names[::-1]))


ABOUT_TOKENS: tuple[Plant, ...] = (
    let_the_token_through,
    take_any_audience,
    split_no_claims,
    demand_a_token,
    look_at_the_last_rule_first,
)
IN_TRANSLATION: tuple[Plant, ...] = (
    take_a_suffix_for_a_prefix,
    forget_what_is_unwanted,
    leave_a_dot_for_any_character,
    keep_the_query_of_paths,
    forget_the_aliases_of_the_trust_domain,
    number_rules_by_those_that_are_left,
    enforce_dry_runs,
    *ABOUT_TOKENS,
)


def any_rule(_: Rule) -> bool:
    return True


def wants_an_exact_path(rule: Rule) -> bool:
    return any(not set("*{") & set(path) for operation in rule.operations for path in operation.paths)


def wants_a_word_of_a_split_claim(rule: Rule) -> bool:
    wanted = [value for each in rule.conditions if each.key == "request.auth.claims[scope]" for value in each.values]
    return len(rule.conditions) == 1 and not {"admin", "user"}.isdisjoint(wanted)


# Where most of what is translated otherwise decides the same.
SHOWN_BY: Mapping[Plant, Callable[[Rule], bool]] = {
    keep_the_query_of_paths: wants_an_exact_path,
    split_no_claims: wants_a_word_of_a_split_claim,
}
EACH = 10
QUESTIONS = 30
IN_ALL = 40


def cases_with(plant: Plant, random: Random) -> Iterator[Case]:
    """So many cases of one rule alone that the fault translates otherwise: what few rules have, and others may hide."""
    found = 0
    while found < EACH:
        drawn = (random_token_case if plant in ABOUT_TOKENS else random_case)(random, 0)
        policy = random.choice(drawn.policies)
        case = replace(
            drawn, policies=(replace(policy, rules=tuple(random.sample(policy.rules, k=min(1, len(policy.rules))))),)
        )
        if not translates_otherwise(plant, case) or not any(map(SHOWN_BY.get(plant, any_rule), case.policies[0].rules)):
            continue
        found += 1
        if plant in ABOUT_TOKENS:
            questions = random_token_questions(random, case.policies, case.authentications, QUESTIONS)
        else:
            questions = random_questions(random, case.policies, QUESTIONS)
        yield replace(case, questions=questions)


def translates_otherwise(plant: Plant, case: Case) -> bool:
    right = comparison._slot(case, 0, MESH)
    with pytest.MonkeyPatch.context() as patch:
        plant(patch)
        return comparison._slot(case, 0, MESH) != right


def test_every_fault_in_the_translation_is_noticed() -> None:
    """In one Envoy with all of them, each in filters of its own."""
    random = Random(4)
    cases = [case for plant in IN_TRANSLATION for case in cases_with(plant, random)]
    written = comparison._slot

    def with_a_fault(case: Case, slot: int, mesh: Mesh) -> Slot:
        with pytest.MonkeyPatch.context() as patch:
            IN_TRANSLATION[slot // EACH](patch)
            return written(case, slot, mesh)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison, "_slot", with_a_fault)
        compared = compare(MESH, cases)

    unnoticed = [
        plant.__name__
        for number, plant in enumerate(IN_TRANSLATION)
        if not differences(compared[number * EACH : (number + 1) * EACH])
    ]
    assert unnoticed == []


# What meshward decides by


def compare_hosts_by_case(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(values, "ascii_lower", lambda text: text)


def ignore_all_but_the_first_header_line(patch: pytest.MonkeyPatch) -> None:
    original = keys.Attribute.read

    def read(self: keys.Attribute, attributes: Attributes) -> tuple[Value, ...]:
        found = original(self, attributes)
        return found[:1] if self.key == "request.headers" else found

    patch.setattr(keys.Attribute, "read", read)


def match_suffixes_anywhere(patch: pytest.MonkeyPatch) -> None:
    original = matcher.matches

    def matches(one: Matcher, value: Value) -> bool:
        if isinstance(one, Suffix) and isinstance(value, str):
            return one.value in value
        return original(one, value)

    patch.setattr(semantics, "matches", matches)


def report_the_rule_that_was_written_first(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(semantics, "rule_order", lambda policy, index: (policy.namespace, policy.name, index))


IN_DECIDING: tuple[Plant, ...] = (
    compare_hosts_by_case,
    ignore_all_but_the_first_header_line,
    match_suffixes_anywhere,
    report_the_rule_that_was_written_first,
)


def wants_a_header(rule: Rule) -> bool:
    return any(each.key.startswith("request.headers[") for each in rule.conditions)


SHOWN_IN_DECIDING_BY: Mapping[Plant, Callable[[Rule], bool]] = {ignore_all_but_the_first_header_line: wants_a_header}


def cases_for(plant: Plant | None) -> list[Case]:
    """Cases of all that there is; for a fault that few rules show, of one such rule alone."""
    random = Random(4)
    shown_by = None if plant is None else SHOWN_IN_DECIDING_BY.get(plant)
    if shown_by is None:
        return [random_case(random, 12) for _ in range(IN_ALL)]
    found: list[Case] = []
    while len(found) < IN_ALL:
        drawn = random_case(random, 0)
        for policy in drawn.policies:
            rule = next(filter(shown_by, policy.rules), None)
            if rule is not None:
                policies = (replace(policy, rules=(rule,)),)
                found.append(replace(drawn, policies=policies, questions=random_questions(random, policies, QUESTIONS)))
    return found[:IN_ALL]


def test_without_a_fault_there_is_no_difference() -> None:
    assert differences(compare(MESH, cases_for(None), authorizer=deciding_by_the_reference)) == []


@pytest.mark.parametrize("plant", IN_DECIDING, ids=lambda plant: plant.__name__)
def test_a_fault_in_what_decides_is_noticed(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = cases_for(plant)
    plant(monkeypatch)

    assert differences(compare(MESH, cases, authorizer=deciding_by_the_reference)) != []
