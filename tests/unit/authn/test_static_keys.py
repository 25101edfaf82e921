"""Keys that are at hand."""

import pytest

from authn import InvalidJwkSetError, JwkSet, KeysUnavailableError, StaticKeys
from authz.request_authentication import JwtRule
from tests.unit.authn.tokens import jwk, key_set, private_key

A = key_set(jwk(private_key("P-256", "a"), kid="a"))
B = key_set(jwk(private_key("P-256", "b"), kid="b"))


def test_a_rule_brings_its_keys_along() -> None:
    assert StaticKeys().key_set(JwtRule(issuer="i", jwks=A)) == JwkSet.parse(A)


def test_keys_that_a_rule_brings_along_are_read_once() -> None:
    rule = JwtRule(issuer="i", jwks=A)
    assert StaticKeys().key_set(rule) is StaticKeys().key_set(rule)


def test_keys_are_given_for_an_issuer_or_for_where_they_would_be_fetched() -> None:
    keys = StaticKeys.parse({"i": A, "https://j/keys": B})
    assert keys.key_set(JwtRule(issuer="i")).keys[0].key_id == "a"
    assert keys.key_set(JwtRule(issuer="j", jwks_uri="https://j/keys")).keys[0].key_id == "b"
    assert keys.key_set(JwtRule(issuer="i", jwks_uri="https://j/keys")).keys[0].key_id == "b"
    assert keys.key_set(JwtRule(issuer="i", jwks_uri="https://other/keys")).keys[0].key_id == "a"


def test_what_is_given_wins_over_what_the_rule_brings_along() -> None:
    assert StaticKeys.parse({"i": A}).key_set(JwtRule(issuer="i", jwks=B)).keys[0].key_id == "a"


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        (JwtRule(issuer="k"), "k"),
        (JwtRule(issuer="k", jwks_uri="https://k/keys"), "https://k/keys"),
        (JwtRule(issuer="k", jwks_uri="https://user:secret@k/keys?secret"), "https://k/keys"),
    ],
)
def test_what_is_not_given_is_missing_and_never_another(rule: JwtRule, name: str) -> None:
    with pytest.raises(KeysUnavailableError) as caught:
        StaticKeys.parse({"i": A}).key_set(rule)
    assert caught.value.reason == f"none are given for `{name}`, and nothing is fetched"


def test_an_empty_name_is_no_name() -> None:
    with pytest.raises(KeysUnavailableError):
        StaticKeys.parse({"": A}).key_set(JwtRule(jwks_uri="https://k/keys"))


def test_a_given_set_that_is_none_is_refused_by_its_name() -> None:
    with pytest.raises(InvalidJwkSetError) as caught:
        StaticKeys.parse({"i": A, "j": "{}"})
    assert caught.value.reason == "for `j`: there is no list of `keys`"


def test_a_set_that_a_rule_brings_along_and_that_is_none_is_refused_each_time_anew() -> None:
    rule = JwtRule(issuer="i", jwks="{}")
    errors = []
    for _ in range(2):
        with pytest.raises(InvalidJwkSetError) as caught:
            StaticKeys().key_set(rule)
        errors.append(caught.value)
    assert errors[0] is not errors[1]


def test_sets_that_no_rule_asks_for_are_named() -> None:
    keys = StaticKeys.parse({"i": A, "https://j/keys": B, "typo": A})
    assert keys.unused([JwtRule(issuer="i"), JwtRule(issuer="x", jwks_uri="https://j/keys")]) == ("typo",)
