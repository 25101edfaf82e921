"""Claims as policies see them (semantics 4.7)."""

import pytest

from authn.claims import as_policies_see


@pytest.mark.parametrize("name", ["scope", "permission"])
@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("read", ["read"]),
        ("read write", ["read", "write"]),
        (" read   write ", ["read", "write"]),
        ("read\twrite", ["read\twrite"]),
        ("read\u00a0write", ["read\u00a0write"]),
    ],
)
def test_scope_and_permission_are_split_at_spaces_and_at_nothing_else(name: str, text: str, pieces: list[str]) -> None:
    assert as_policies_see({name: text}) == {name: pieces}


@pytest.mark.parametrize("value", ["", "  ", ["a b"], 7, None, True, {"a b": "c d"}])
def test_a_claim_without_a_word_and_one_that_is_no_text_stay_as_they_are(value: object) -> None:
    assert as_policies_see({"scope": value}) == {"scope": value}


def test_no_other_claim_is_split_unless_it_is_named() -> None:
    payload = {"groups": "a b", "aud": "c d"}
    assert as_policies_see(payload) == payload
    assert as_policies_see(payload, space_delimited=["groups", "none"]) == {"groups": ["a", "b"], "aud": "c d"}


def test_a_nested_claim_is_not_split() -> None:
    assert as_policies_see({"realm": {"scope": "a b"}}) == {"realm": {"scope": "a b"}}


def test_the_payload_itself_is_left_alone() -> None:
    payload = {"scope": "a b", "sub": "s"}
    as_policies_see(payload)
    assert payload == {"scope": "a b", "sub": "s"}
