"""What is secret by its name, by its place or by its looks is masked, and what policies compare is left."""

import pytest

from mesh.replaying.masking import Masking

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"
MASKING = Masking(["X-Tenant"])


@pytest.mark.parametrize(
    "name",
    [
        *("authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "x-forwarded-client-cert"),
        *("x-auth-token", "x-access-token", "x-amz-security-token", "x-csrf-token", "x-session-id", "x-my-password"),
        *("apikey", "x-goog-iap-jwt-assertion", "x-jwt", "x-tenant"),
    ],
)
def test_every_line_of_a_secret_header_is_masked(name: str) -> None:
    assert MASKING.headers({name: ("abc", "d")}) == {name: ("***", "***")}


@pytest.mark.parametrize(
    "name",
    [
        "x-role",
        "x-forwarded-for",
        "user-agent",
        "accept",
        "x-auth-request-email",
        "x-code",
        "host",
        "x-keyboard",
        "x-author",
    ],
)
def test_a_header_that_is_none_is_left(name: str) -> None:
    assert MASKING.headers({name: ("abc",)}) == {name: ("abc",)}


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (JWT, "***"),
        (f"id {JWT}, and more", "id ***, and more"),
        (JWT.replace(".", "%2E"), "***"),
        ("Bearer abc.def", "***"),
        ("bearer%20abc", "***"),
        ("Basic dXNlcjpwYXNz", "***"),
        ("ghp_0123456789abcdefghij", "***"),
        (
            "https://a.example/x?code=abc&page=2#access_token=def",
            "https://a.example/x?code=***&page=2#access_token=***",
        ),
        ("buyer", "buyer"),
        ("eyes.on.you", "eyes.on.you"),
        ("", ""),
    ],
)
def test_any_header_may_carry_a_token(text: str, masked: str) -> None:
    assert MASKING.headers({"x-other": (text,)}) == {"x-other": (masked,)}


@pytest.mark.parametrize(
    ("path", "masked"),
    [
        ("/items?page=2&sort=name", "/items?page=2&sort=name"),
        ("/items?token=abc&page=2", "/items?token=***&page=2"),
        ("/items?Access_Token=abc", "/items?Access_Token=***"),
        ("/items?access%5Ftoken=abc", "/items?access%5Ftoken=***"),
        ("/items?client_secret=a/b=c", "/items?client_secret=***"),
        ("/items?X-Amz-Signature=0&X-Amz-Expires=60", "/items?X-Amz-Signature=***&X-Amz-Expires=60"),
        ("/items?a=1;sid=abc", "/items?a=1;sid=***"),
        ("/items?q=AbCdEf0123456789AbCdEf", "/items?q=***"),
        ("/items?q=international-conference", "/items?q=international-conference"),
        ("/items?q=12345678901234567890", "/items?q=12345678901234567890"),
        ("/items?token=", "/items?token="),
        ("/items?token", "/items?token"),
        ("/items;jsessionid=abc/1?page=2", "/items;jsessionid=***/1?page=2"),
        ("/items#access_token=abc", "/items#access_token=***"),
        (f"/reset/{JWT}/now", "/reset/***/now"),
        ("/tokens/7", "/tokens/7"),
        ("/items?", "/items?"),
        ("", ""),
    ],
)
def test_paths_keep_what_policies_compare(path: str, masked: str) -> None:
    assert MASKING.path(path) == masked


def test_an_authority_says_nobodys_password() -> None:
    assert MASKING.host("user:pass@api.shop:8080") == "***@api.shop:8080"
    assert MASKING.host("api.shop:8080") == "api.shop:8080"


def test_claims_may_hold_secrets_too() -> None:
    claims = {"sub": "alice", "sid": "abc", "act": {"session_state": "x", "n": 7}, "groups": ["buyer", JWT], "ok": True}
    assert MASKING.claims(claims) == {
        "sub": "alice",
        "sid": "***",
        "act": {"session_state": "***", "n": 7},
        "groups": ["buyer", "***"],
        "ok": True,
    }


def test_claims_may_be_nested_deeper_than_anybody_can_follow() -> None:
    claims: dict[str, object] = {}
    for _ in range(3000):
        claims = {"a": claims}
    masked = MASKING.claims(claims)
    assert str(masked).count("a") == 17
