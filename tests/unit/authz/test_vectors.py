"""Every vector is decided as it says, by the reference and by the tree; and no attribute is without one."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from authz.attributes import Protocol
from authz.keys import KEYS
from authz.predicates import PredicateTable
from tests.unit.authz.vectors import DIRECTORY, FILES, REFUSED_AT_PORT, Case, Group, as_expected, cases

SECTION = re.compile(r"\((?:[^()]*, )?(?:\d|CVE-|measured )[^()]*\)$")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_vector_is_decided_as_it_says(file: Path) -> None:
    for case in cases(file):
        reference, tree = case.decisions()
        said = f"{case.why}\n{case.request}"
        assert as_expected(reference) == case.expect, said
        # Who is asked says more than the reference: which policy demands mTLS, or why an authorizer was not asked.
        if reference is not REFUSED_AT_PORT:
            assert tree.reason.startswith(reference.reason), said
            assert replace(tree, reason=reference.reason) == reference, said
        assert as_expected(tree) == case.expect, said


def test_every_vector_says_why_and_by_which_section() -> None:
    silent = [case.why for file in FILES for case in cases(file) if not SECTION.search(case.why)]
    assert silent == []


def test_there_are_many() -> None:
    assert sum(len(cases(file)) for file in FILES) > 350


def attributes_read_by(group: Group) -> set[str]:
    table = PredicateTable(trust_domains=group.config.trust_domains)
    for policy in group.policies:
        table.lower(policy, Protocol.HTTP)
    return {predicate.attribute.key for predicate in table}


def is_met(case: Case) -> bool:
    """Whether some rule matches."""
    reference, _ = case.decisions()
    return reference.match is not None


@pytest.mark.parametrize("key", KEYS)
def test_every_attribute_has_a_request_that_it_matches_and_one_that_it_does_not(key: str) -> None:
    file = DIRECTORY / f"{key.rstrip('.')}.yaml"
    assert file.exists(), f"write tests/vectors/authz/{file.name}"
    own = [case for case in cases(file) if key in attributes_read_by(case.group)]
    assert {is_met(case) for case in own} == {True, False}
