"""Authentication of whole requests: what vectors cannot say."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authn import (
    Authenticated,
    InvalidJwkSetError,
    JwkSet,
    JwtStatus,
    KeysUnavailableError,
    StaticKeys,
    UnauthenticatedError,
    authenticate,
    carries_token,
)
from authn.status import MAX_TOKEN
from authz.attributes import Attributes
from authz.decision import Denial
from authz.request_authentication import ClaimToHeader, JwtRule, Presence, TokenHeader
from tests.unit.authn.tokens import AT, jwk, key_set, private_key, token

KEY = private_key("P-256", "a")
RULE = JwtRule(issuer="i", jwks=key_set(jwk(KEY, kid="a")))
GOOD = str(token(KEY, {"iss": "i", "sub": "s"}, alg="ES256"))
INVALID = ', error="invalid_token"'


def request(authorization: str | None = None, *, path: str = "/", **headers: str) -> Attributes:
    lines = {name: (value,) for name, value in headers.items()}
    if authorization is not None:
        lines["authorization"] = (authorization,)
    return Attributes(method="GET", path=path, host="api.shop", scheme="https", headers=lines)


def refusal(attributes: Attributes, *rules: JwtRule) -> UnauthenticatedError:
    with pytest.raises(UnauthenticatedError) as caught:
        authenticate(rules or (RULE,), attributes, key_sets=StaticKeys().key_set, at=AT)
    return caught.value


def no_keys(rule: JwtRule) -> JwkSet:
    raise KeysUnavailableError(f"nobody answers at {rule.jwks_uri}")


def test_a_denied_caller_is_told_what_envoy_tells() -> None:
    assert refusal(request("Bearer x.y.z", path="/items?page=2")).denial == Denial(
        401,
        b"Jwt header is an invalid Base64url encoded",
        (
            ("www-authenticate", f'Bearer realm="https://api.shop/items?page=2"{INVALID}'),
            ("content-type", "text/plain"),
        ),
    )


def test_of_the_path_the_first_256_characters_are_told() -> None:
    for length in (256, 257, 1000):
        denial = refusal(request("Bearer x", path="/" + "p" * (length - 1))).denial
        assert denial.headers[0][1] == f'Bearer realm="https://api.shop/{"p" * 255}"{INVALID}'


def test_what_the_request_lacks_is_left_out_of_the_realm() -> None:
    attributes = Attributes(path="/", headers={"authorization": ("Bearer x",)})
    assert refusal(attributes).denial.headers[0][1] == f'Bearer realm="http:///"{INVALID}'


@pytest.mark.parametrize(
    ("claims", "key", "reason"),
    [
        ({"iss": "j\nk"}, KEY, "its issuer is `j\\nk`"),
        ({"iss": "x" * 1000}, KEY, f"its issuer is `{'x' * 80}…`"),
        ({"iss": "i", "exp": AT - 100}, KEY, "it expired 100 s ago"),
        ({"iss": "i", "nbf": AT + 100}, KEY, "it is not valid for another 100 s"),
        (
            {"iss": "i"},
            private_key("P-256", "b"),
            "its signature with ES256 is by none of the 1 keys that it could be by",
        ),
    ],
)
def test_an_operator_is_told_where_the_token_was_and_what_is_wrong_with_it(
    claims: dict[str, object], key: object, reason: str
) -> None:
    text = str(token(key, claims, alg="ES256"))  # type: ignore[arg-type]  # every key here is one
    error = refusal(request(f"Bearer {text}"))
    assert error.reason == str(error) == f"the token in header `authorization` is not accepted for issuer `i`: {reason}"


def test_the_audiences_that_a_token_has_are_told() -> None:
    text = str(token(KEY, {"iss": "i", "aud": ["a", "b"]}, alg="ES256"))
    error = refusal(request(f"Bearer {text}"), replace(RULE, audiences=("c",)))
    assert error.reason.endswith(": it is meant for `a`, `b`")
    assert error.denial.status == 403
    error = refusal(request(f"Bearer {GOOD}"), replace(RULE, audiences=("c",)))
    assert error.reason.endswith(": it is meant for nobody")


def test_the_key_that_is_missing_is_told() -> None:
    text = str(token(KEY, {"iss": "i"}, alg="ES256", kid="z"))
    assert refusal(request(f"Bearer {text}")).reason.endswith(
        ": no key has the id `z` and the algorithm ES256; there are 1"
    )


@pytest.mark.parametrize(
    ("rule", "attributes", "place"),
    [
        (RULE, request(path="/?access_token=x"), "query parameter `access_token`"),
        (replace(RULE, from_cookies=("c",)), request(cookie="c=x"), "cookie `c`"),
        (replace(RULE, from_headers=(TokenHeader(name="X-T"),)), request(**{"x-t": "x"}), "header `x-t`"),
    ],
)
def test_an_operator_is_told_each_place(rule: JwtRule, attributes: Attributes, place: str) -> None:
    assert refusal(attributes, rule).reason.startswith(f"the token in {place} is not accepted for issuer `i`: ")


def test_a_rule_without_an_issuer_is_told_as_such() -> None:
    rule = replace(RULE, issuer="", jwks_uri="https://user:secret@k/keys")
    assert "is not accepted for any issuer: " in refusal(request("Bearer x"), rule).reason


def test_which_rule_refused_is_told() -> None:
    other = replace(RULE, issuer="j")
    late = str(token(KEY, {"iss": "j", "exp": 1}, alg="ES256"))
    error = refusal(request(f"Bearer {late}"), RULE, other)
    assert (error.rule, error.status) == (1, JwtStatus.EXPIRED)


@pytest.mark.parametrize(
    "text", [GOOD, f"{GOOD}x", GOOD.replace(".", ".e30", 1), "secret", "a.b.secret", "secret" * 3000]
)
def test_no_reason_holds_the_token(text: str) -> None:
    rule = replace(RULE, issuer="j")
    error = refusal(request(f"Bearer {text}", path=f"/?access_token={text}"), rule)
    assert text not in error.reason
    assert text.rpartition(".")[2] not in error.reason


def test_without_keys_a_token_is_refused_and_a_missing_one_is_not() -> None:
    rule = replace(RULE, jwks="", jwks_uri="https://k/keys")
    with pytest.raises(UnauthenticatedError) as caught:
        authenticate((rule,), request(f"Bearer {GOOD}"), key_sets=no_keys, at=AT)
    assert caught.value.status is JwtStatus.KEYS_UNAVAILABLE
    assert caught.value.denial.body == b"Jwks remote fetch is failed"
    assert caught.value.denial.status == 401
    assert caught.value.reason.endswith(": the keys to verify it by are missing: nobody answers at https://k/keys")
    assert authenticate((rule,), request(), key_sets=no_keys, at=AT).claims is None


def test_a_rule_with_an_invalid_set_says_so() -> None:
    def invalid(rule: JwtRule) -> JwkSet:
        raise InvalidJwkSetError(f"{rule.issuer} is unwell")

    with pytest.raises(UnauthenticatedError) as caught:
        authenticate((RULE,), request(f"Bearer {GOOD}"), key_sets=invalid, at=AT)
    assert caught.value.status is JwtStatus.NO_VALID_KEYS
    assert caught.value.reason.endswith(": there is no key to verify it by: i is unwell")


def test_keys_are_asked_for_only_when_everything_else_is_good_and_once_for_a_token() -> None:
    asked = []

    def key_sets(rule: JwtRule) -> JwkSet:
        asked.append(rule.issuer)
        return StaticKeys().key_set(rule)

    rules = (replace(RULE, audiences=("x",)), replace(RULE, issuer="j"), RULE)
    authenticate(rules, request(f"Bearer {GOOD}"), key_sets=key_sets, at=AT)
    assert asked == ["i"]
    forged = str(token(private_key("P-256", "b"), {"iss": "i"}, alg="ES256"))
    with pytest.raises(UnauthenticatedError):
        authenticate(rules, request(f"Bearer {forged}"), key_sets=key_sets, at=AT)
    assert asked == ["i", "i"]
    with pytest.raises(UnauthenticatedError):  # here the rule is asked twice, the second time as the last resort
        authenticate(rules[::-1], request(f"Bearer {forged}"), key_sets=key_sets, at=AT)
    assert asked == ["i", "i", "i"]


def test_a_token_that_is_too_long_is_said_to_be() -> None:
    error = refusal(request("Bearer " + "x" * (MAX_TOKEN + 1)))
    assert error.status is JwtStatus.TOO_LONG
    assert error.denial.body == b"Jwt is longer than 16384 characters"
    assert error.denial.status == 401


def test_a_presence_that_is_required_changes_nothing_as_in_istio() -> None:
    rule = replace(RULE, presence=Presence.REQUIRED)
    assert authenticate((rule,), request(), key_sets=StaticKeys().key_set, at=AT).claims is None


def test_the_facts_go_on_as_changed() -> None:
    rule = replace(RULE, output_payload_to_header="x-payload")
    attributes = request(f"Bearer {GOOD}", **{"x-payload": "from the client", "x-other": "kept"})
    result = authenticate((rule,), attributes, key_sets=StaticKeys().key_set, at=AT)
    after = result.applied_to(attributes)
    assert after.claims == {"iss": "i", "sub": "s"}
    assert after.headers == {"x-payload": (GOOD.split(".")[1],), "x-other": ("kept",)}


def test_claims_that_nobody_verified_do_not_survive() -> None:
    attributes = replace(request(), claims={"iss": "i", "sub": "admin"})
    result = authenticate((RULE,), attributes, key_sets=StaticKeys().key_set, at=AT)
    assert result.applied_to(attributes).claims is None
    assert authenticate((), attributes, key_sets=StaticKeys().key_set, at=AT).applied_to(attributes).claims is None


def test_whether_there_is_a_token_is_known_without_keys() -> None:
    assert carries_token((RULE,), request("Bearer x"))
    assert carries_token((replace(RULE, from_params=("t",)), RULE), request("Bearer x"))
    assert not carries_token((RULE,), request("Basic x"))
    assert not carries_token((), request("Bearer x"))
    assert not carries_token((RULE,), replace(request("Bearer x"), path="*"))


NAMES = st.sampled_from(["authorization", "x-t", "cookie", "origin", "x-out"])
TEXTS = st.sampled_from(
    [f"Bearer {GOOD}", GOOD, f"c={GOOD}", f'c="{GOOD}', "Bearer ", "T:\ud800", "\udcff", "", ";=;", "."]
)
LINES = st.lists(TEXTS | st.text(max_size=20), max_size=3).map(tuple)
PATHS = st.sampled_from(
    [None, "*", "", "/", f"/?t={GOOD}&u=%", "/?t&t=%ff&%74=x", "/?\udcff=\udcff&t=\udcff", "/?t=%zz"]
)
RULES = st.lists(
    st.builds(
        JwtRule,
        issuer=st.sampled_from(["", "i", "j"]),
        jwks=st.sampled_from([RULE.jwks, "", "{}"]),
        audiences=st.sampled_from([(), ("a",)]),
        from_headers=st.sampled_from([(), (TokenHeader(name="X-T", prefix="T:"),), (TokenHeader(name="x-t"),)]),
        from_params=st.sampled_from([(), ("t", "u")]),
        from_cookies=st.sampled_from([(), ("c",)]),
        forward_original_token=st.booleans(),
        output_payload_to_header=st.sampled_from(["", "X-Out", ":path", "no name"]),
        output_claim_to_headers=st.sampled_from([(), (ClaimToHeader(header="x-out", claim="sub"),)]),
    ),
    max_size=3,
)


def outcome(rules: list[JwtRule], attributes: Attributes) -> Authenticated | UnauthenticatedError:
    try:
        return authenticate(rules, attributes, key_sets=StaticKeys().key_set, at=AT)
    except UnauthenticatedError as error:
        return error


@given(RULES, st.dictionaries(NAMES, LINES, max_size=4), PATHS | st.text(max_size=20).map("/?{}".format))
def test_every_request_is_let_through_or_denied(
    rules: list[JwtRule], headers: dict[str, tuple[str, ...]], path: str | None
) -> None:
    attributes = Attributes(method="GET", path=path, host="h", scheme="http", headers=headers)
    came_to = outcome(rules, attributes)
    if isinstance(came_to, UnauthenticatedError):
        assert came_to.denial.status in {401, 403, 503}
        assert came_to.rule in range(len(rules))
        for _, value in came_to.denial.headers:
            value.encode()  # what cannot be sent is no answer
        return
    assert (came_to.claims is None) is (came_to.rule is None)
    if came_to.claims is None and any(rule.output_payload_to_header == "X-Out" for rule in rules):
        assert "x-out" not in came_to.applied_to(attributes).headers


@given(RULES, st.dictionaries(NAMES, LINES, max_size=4), PATHS)
def test_nobody_is_authenticated_who_has_no_good_token(
    rules: list[JwtRule], headers: dict[str, tuple[str, ...]], path: str | None
) -> None:
    without = {
        name: tuple(line.replace(GOOD, f"{GOOD[:-8]}AAAAAAAA") for line in lines) for name, lines in headers.items()
    }
    attributes = Attributes(method="GET", path=path and path.replace(GOOD, "a.b.c"), headers=without)
    came_to = outcome(rules, attributes)
    assert isinstance(came_to, UnauthenticatedError) or came_to.claims is None
