"""Law: remembering verified tokens changes nothing but the time, whatever happens between two requests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from authn import (
    Authenticated,
    JwkSet,
    JwtStatus,
    KeysUnavailableError,
    UnauthenticatedError,
    authenticate,
    authentication,
)
from authn.errors import InvalidJwkSetError
from authn.verified_tokens import Proof, VerifiedTokens, fingerprint
from authz.attributes import Attributes
from authz.request_authentication import ClaimToHeader, JwtRule, TokenHeader
from tests.unit.authn.tokens import AT, jwk, key_set, private_key, token

FIRST, SECOND, OTHER = (private_key("Ed25519", name) for name in ("first", "second", "other"))
LATE = AT + 1000

KEYS: Mapping[str, JwkSet | Exception] = {
    "one": JwkSet.parse(key_set(jwk(FIRST, kid="k"))),
    "the same, read again": JwkSet.parse(key_set(jwk(FIRST, kid="k"))),
    "one more": JwkSet.parse(key_set(jwk(FIRST, kid="k"), jwk(SECOND, kid="l"))),
    "another under the same id": JwkSet.parse(key_set(jwk(SECOND, kid="k"))),
    "another without id": JwkSet.parse(key_set(jwk(SECOND))),
    "none that fits": JwkSet.parse(key_set(jwk(OTHER, kid="m"))),
    "none fetched": KeysUnavailableError("nobody answers"),
    "no set": InvalidJwkSetError("it is no JSON"),
}
URIS = ("https://a/keys", "https://b/keys")

_CLAIMS = {"iss": "i", "sub": "s", "aud": ["a"], "groups": "g h", "scope": "x y", "nbf": AT, "exp": LATE}
TOKENS = tuple(
    str(token(key, {**_CLAIMS, **claims}, alg="EdDSA", kid=kid))
    for key, kid, claims in (
        (FIRST, "k", {}),
        (SECOND, "k", {}),
        (SECOND, "l", {"sub": "t"}),
        (FIRST, "k", {"iss": "j", "aud": "b"}),
        (FIRST, "k", {"exp": 0, "nbf": 0, "sub": "x\ny"}),
    )
)
BAD = (f"{TOKENS[0][:-8]}AAAAAAAA", TOKENS[0] + "=", "a.b.c", "", "\ud800", "x" * 20_000)

TIMES = st.sampled_from(
    [0, AT - 61, AT - 60, AT - 60.5, AT, AT + 0.9, LATE, LATE + 60, LATE + 60.9, LATE + 61, 10 * LATE]
)
RULES = st.builds(
    JwtRule,
    issuer=st.sampled_from(["i", "i", "i", "j", ""]),
    audiences=st.sampled_from([(), (), ("a",), ("https://a/",), ("b",), ("a", "b")]),
    jwks_uri=st.sampled_from(URIS),
    from_headers=st.sampled_from(
        [(), (TokenHeader(name="X-T"),), (TokenHeader(name="authorization", prefix="Bearer "),)]
    ),
    from_params=st.sampled_from([(), ("t", "u")]),
    from_cookies=st.sampled_from([(), ("c",)]),
    forward_original_token=st.booleans(),
    output_payload_to_header=st.sampled_from(["", "X-Payload", "host"]),
    output_claim_to_headers=st.lists(
        st.builds(
            ClaimToHeader, header=st.sampled_from(["x-out", "X-T"]), claim=st.sampled_from(["sub", "scope", "iss"])
        ),
        max_size=2,
    ).map(tuple),
    space_delimited_claims=st.sampled_from([(), ("groups",)]),
)
TEXTS = st.sampled_from(TOKENS) | st.sampled_from(BAD)


def request(bearer: str | None, header: Sequence[str], parameter: str | None, cookie: str | None) -> Attributes:
    headers = {"x-t": tuple(header)} if header else {}
    if bearer is not None:
        headers["authorization"] = (f"Bearer {bearer}",)
    if cookie is not None:
        headers["cookie"] = (f"c={cookie}",)
    path = "/" if parameter is None else f"/?t={parameter}&u={parameter}"
    return Attributes(method="GET", path=path, host="h", scheme="http", headers=headers)


REQUESTS = st.builds(
    request,
    st.none() | TEXTS,
    st.lists(TEXTS, max_size=2),
    st.none() | st.sampled_from(TOKENS),
    st.none() | st.sampled_from(TOKENS),
)
FETCHED = st.fixed_dictionaries(dict.fromkeys(URIS, st.sampled_from(sorted(KEYS))))


@dataclass(frozen=True, slots=True)
class Step:
    """A request, and the world that it comes into."""

    rules: tuple[JwtRule, ...]
    attributes: Attributes
    fetched: Mapping[str, str]
    at: float

    def outcome(self, remembered: VerifiedTokens | None) -> object:
        def key_sets(rule: JwtRule) -> JwkSet:
            match KEYS[self.fetched[rule.jwks_uri]]:
                case JwkSet() as keys:
                    return keys
                case error:
                    raise error

        try:
            return authenticate(self.rules, self.attributes, key_sets=key_sets, at=self.at, remembered=remembered)
        except UnauthenticatedError as error:
            return error.status, error.rule, error.reason, error.denial


@st.composite
def histories(draw: st.DrawFn) -> list[Step]:
    """Steps of which each changes a little of the one before: where nothing is the same, there is nothing to remember."""
    parts: dict[str, st.SearchStrategy[Any]] = {
        "rules": st.lists(RULES, min_size=1, max_size=3).map(tuple),
        "attributes": REQUESTS,
        "fetched": FETCHED,
        "at": TIMES,
    }
    likely = Step(
        rules=(replace(draw(RULES), issuer="i", audiences=()),),
        attributes=request(TOKENS[0], TOKENS[:1], TOKENS[0], TOKENS[0]),
        fetched=dict.fromkeys(URIS, "one"),
        at=AT,
    )
    steps = [likely]
    for name in draw(st.lists(st.sampled_from([*parts, "one rule", "back"]), min_size=1, max_size=8)):
        last = steps[-1]
        if name == "back":
            steps.append(draw(st.sampled_from(steps)))
        elif name == "one rule":
            changed, other = draw(st.sampled_from(last.rules)), draw(RULES)
            field = draw(st.sampled_from([each.name for each in fields(JwtRule)]))
            rule = replace(changed, **{field: getattr(other, field)})
            steps.append(replace(last, rules=tuple(rule if each is changed else each for each in last.rules)))
        else:
            steps.append(replace(last, **{name: draw(parts[name])}))
    return steps


def check(steps: Sequence[Step], remembered: VerifiedTokens) -> None:
    """Each request, and then each once more: the second time it is remembered if it may be."""
    for step in steps:
        plain = step.outcome(None)
        assert step.outcome(remembered) == plain
        assert step.outcome(remembered) == plain


SIZES = st.sampled_from([(8192, 10**6), (1, 10**6), (2, 500), (0, 0)])


@given(histories(), SIZES)
def test_a_remembered_token_proves_what_it_would_prove_if_it_were_not(steps: list[Step], size: tuple[int, int]) -> None:
    check(steps, VerifiedTokens(tokens=size[0], characters=size[1]))


GOOD = Step(
    rules=(JwtRule(issuer="i", jwks_uri=URIS[0]),),
    attributes=request(TOKENS[0], (), None, None),
    fetched=dict.fromkeys(URIS, "one"),
    at=AT,
)


def test_the_step_that_the_faults_start_from_is_good() -> None:
    outcome = GOOD.outcome(None)
    assert isinstance(outcome, Authenticated)
    assert outcome.claims is not None


def forget_the_key_set(patch: pytest.MonkeyPatch) -> None:
    original = authentication._Proving._still_holds

    def still_holds(self: authentication._Proving, proof: Proof, rule: JwtRule) -> bool:
        patch.setattr(self, "_key_sets", lambda _: proof.keys)
        return original(self, proof, rule)

    patch.setattr(authentication._Proving, "_still_holds", still_holds)


def forget_the_end(patch: pytest.MonkeyPatch) -> None:
    original = authentication._Proving._verified
    patch.setattr(
        authentication._Proving, "_verified", lambda self, rule, text: replace(original(self, rule, text), expires=0)
    )


def forget_the_beginning(patch: pytest.MonkeyPatch) -> None:
    original = authentication._Proving._verified
    patch.setattr(
        authentication._Proving, "_verified", lambda self, rule, text: replace(original(self, rule, text), not_before=0)
    )


def forget(patch: pytest.MonkeyPatch, **field: Any) -> None:
    """Remember by the rule without a field of it."""
    find, keep = VerifiedTokens.find, VerifiedTokens.keep
    patch.setattr(VerifiedTokens, "find", lambda self, name, rule: find(self, name, replace(rule, **field)))
    patch.setattr(
        VerifiedTokens,
        "keep",
        lambda self, name, rule, proof, length: keep(self, name, replace(rule, **field), proof, length=length),
    )


def other_rule(**field: Any) -> Step:
    return replace(GOOD, rules=(replace(GOOD.rules[0], **field),))


FAULTS = {
    "keys": (forget_the_key_set, replace(GOOD, fetched=dict.fromkeys(URIS, "another under the same id"))),
    "no keys": (forget_the_key_set, replace(GOOD, fetched=dict.fromkeys(URIS, "none fetched"))),
    "exp": (forget_the_end, replace(GOOD, at=LATE + 61)),
    "nbf": (forget_the_beginning, replace(GOOD, at=AT - 61)),
    "issuer": (lambda patch: forget(patch, issuer=""), other_rule(issuer="j")),
    "audiences": (lambda patch: forget(patch, audiences=()), other_rule(audiences=("b",))),
    "output headers": (
        lambda patch: forget(patch, output_claim_to_headers=()),
        other_rule(output_claim_to_headers=(ClaimToHeader(header="x-out", claim="sub"),)),
    ),
    "payload header": (
        lambda patch: forget(patch, output_payload_to_header=""),
        other_rule(output_payload_to_header="x-payload"),
    ),
    "space-delimited claims": (
        lambda patch: forget(patch, space_delimited_claims=()),
        other_rule(space_delimited_claims=("groups",)),
    ),
    "token": (
        lambda patch: patch.setattr(authentication, "fingerprint", lambda _: b""),
        replace(GOOD, attributes=request(BAD[0], (), None, None)),
    ),
}


@pytest.mark.parametrize("forgotten", FAULTS)
def test_whoever_forgets_part_of_what_was_read_is_found_out(forgotten: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, then = FAULTS[forgotten]
    check([GOOD, then, GOOD], VerifiedTokens())
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        check([GOOD, then], VerifiedTokens())


def outcome_status(outcome: object) -> JwtStatus | None:
    return outcome[0] if isinstance(outcome, tuple) else None


def proofs(count: int, size: int = 2) -> VerifiedTokens:
    remembered = VerifiedTokens(tokens=size)
    for number in range(count):
        text = str(token(FIRST, {**_CLAIMS, "jti": str(number)}, alg="EdDSA", kid="k"))
        replace(GOOD, attributes=request(text, (), None, None)).outcome(remembered)
    return remembered


def test_what_was_verified_is_not_verified_again(monkeypatch: pytest.MonkeyPatch) -> None:
    remembered = VerifiedTokens()
    first = GOOD.outcome(remembered)
    monkeypatch.setattr(authentication, "verify_token", None)
    assert GOOD.outcome(remembered) == first
    elsewhere = replace(GOOD, rules=(replace(GOOD.rules[0], from_cookies=("c",)),))
    with pytest.raises(TypeError):
        replace(elsewhere, attributes=request(None, (), None, TOKENS[0])).outcome(remembered)


def test_a_flood_of_good_tokens_is_bounded_in_number_and_in_characters() -> None:
    assert len(proofs(5)) == 2
    remembered = VerifiedTokens(characters=len(TOKENS[0]))
    GOOD.outcome(remembered)
    assert (len(remembered), remembered.characters) == (1, len(TOKENS[0]))
    replace(GOOD, attributes=request(TOKENS[4], (), None, None)).outcome(remembered)
    assert (len(remembered), remembered.characters) == (1, len(TOKENS[4]))


def test_a_flood_of_bad_tokens_drives_nobody_out() -> None:
    remembered = VerifiedTokens(tokens=1)
    GOOD.outcome(remembered)
    for text in (*BAD, TOKENS[1], TOKENS[2], TOKENS[3]):
        assert outcome_status(replace(GOOD, attributes=request(text, (), None, None)).outcome(remembered)) is not None
    name = fingerprint(TOKENS[0])
    assert name is not None
    assert len(remembered) == 1
    assert remembered.find(name, GOOD.rules[0]) is not None


def test_who_came_last_stays() -> None:
    remembered = VerifiedTokens(tokens=2)
    again = replace(GOOD, attributes=request(TOKENS[4], (), None, None))
    third = other_rule(audiences=("a",))
    for step in (GOOD, again, GOOD, third):
        step.outcome(remembered)
    names = [fingerprint(TOKENS[0]), fingerprint(TOKENS[4])]
    assert None not in names
    assert [remembered.find(name, GOOD.rules[0]) is not None for name in names if name is not None] == [True, False]


def test_neither_tokens_nor_claims_are_shown() -> None:
    assert repr(proofs(2)).startswith("<VerifiedTokens: 2 tokens of ")
    for text in (repr(proofs(2)), str(proofs(2))):
        assert not any(secret in text for secret in ("eyJ", "scope", "x y"))


@given(st.text(alphabet=st.characters(), max_size=5), st.text(alphabet=st.characters(), max_size=5))
@example("\udcc3\udca9", "é")
@example("\ud800\udc00", "\U00010000")
def test_two_texts_have_one_fingerprint_only_if_they_are_one(one: str, other: str) -> None:
    assert (fingerprint(one) == fingerprint(other)) is (one == other)
