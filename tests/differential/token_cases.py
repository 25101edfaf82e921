"""Cases with tokens at random: what they say is verified, changes requests, and is what policies look at."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import NamedTuple

from authz.model import Action, Policy, Rule
from authz.request_authentication import ClaimToHeader, JwtRule, RequestAuthentication, TokenHeader
from tests.differential.cases import Case, Http, Question
from tests.differential.generator import (
    pick,
    random_condition,
    random_policy,
    random_questions,
    random_rule,
)
from tests.differential.tokens import ISSUERS, key_sets, random_token
from tests.laws import world

__all__ = ["random_token_case", "random_token_questions"]

_ABOUT_TOKENS = (
    *("request.auth.principal", "request.auth.audiences", "request.auth.presenter") * 2,
    *world.CLAIM_KEYS,
    "request.auth.claims[scope]",
    "request.auth.claims[realm]",
    "request.auth.claims[n]",
)
_AFTER_TOKENS = (
    "request.headers[x-role]",
    "request.headers[x-team]",
    "request.headers[:path]",
    "request.headers[authorization]",
    "destination.port",
)
_HEADER_LOCATIONS = (
    (),
    (TokenHeader(name="x-jwt"),),
    (TokenHeader(name="Authorization", prefix="Bearer "),),
    (TokenHeader(name="x-jwt", prefix="tok "), TokenHeader(name="x-jwt")),
    (TokenHeader(name="x-other-jwt", prefix="a"), TokenHeader(name="authorization", prefix="JWT ")),
)
_PARAMETERS = ((), (), ("token",), ("token", "access_token"))
_COOKIES = ((), (), ("jwt",), ("session", "jwt"))
_OUTPUTS = (
    ClaimToHeader(header="x-role", claim="role"),
    ClaimToHeader(header="X-Sub", claim="sub"),
    ClaimToHeader(header="x-team", claim="realm.roles"),
    ClaimToHeader(header="x-groups", claim="groups"),
    ClaimToHeader(header="x-n", claim="n"),
    ClaimToHeader(header="x-scope", claim="scope"),
)
_AUDIENCES = ((), (), ("shop",), ("shop", "other"), ("https://shop/",))
_SPACE_DELIMITED = ((), (), ("groups",), ("azp", "role"))
_COOKIE_LINES = ("{}", "a=b; {}", '{}; c="d"', "a={}")
# What may stand before a token, as a client would write it or nearly.
_PREFIXES = (
    "Bearer ",
    "Bearer ",
    "Bearer ",
    "bearer ",
    "Bearer  ",
    "Basic ",
    "x Bearer ",
    "Bearer",
    "tok ",
    "JWT ",
    "",
)


def random_token_case(random: Random, questions: int) -> Case:
    """As `random_case`, where tokens are verified: policies that look at claims, and requests that carry tokens."""
    names = random.sample(("a", "b", "c"), k=random.choice((1, 1, 2, 3)))
    policies = tuple(random_policy(random, name, _random_rule) for name in names)
    authentications = tuple(
        _random_authentication(random, name) for name in random.sample(("a", "b", "c"), k=random.choice((1, 1, 2)))
    )
    return Case(
        policies=policies,
        questions=random_token_questions(random, policies, authentications, questions),
        authentications=authentications,
    )


def random_token_questions(
    random: Random, policies: Sequence[Policy], authentications: Sequence[RequestAuthentication], number: int
) -> tuple[Question, ...]:
    """As `random_questions`, with tokens that `authentications` take or nearly take."""
    rules = [rule for authentication in authentications for rule in authentication.jwt_rules]
    return tuple(
        _with_tokens(random, question, rules) if isinstance(question, Http) else question
        for question in random_questions(random, policies, number)
    )


def _random_rule(random: Random, action: Action) -> Rule:
    if random.random() < 0.3:
        return random_rule(random, action)
    # CUSTOM comes before tokens are looked at, and knows nothing of them.
    keys = _AFTER_TOKENS if action is Action.CUSTOM else (*_ABOUT_TOKENS, *_AFTER_TOKENS)
    some = random.choices(keys, k=random.choice((1, 1, 2)))
    return Rule(conditions=tuple(random_condition(random, action, (key,)) for key in some))


def _random_authentication(random: Random, name: str) -> RequestAuthentication:
    return RequestAuthentication(
        namespace=random.choice(("shop", "shop", "istio-system")),
        name=name,
        created=random.choice(("", "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z")),
        jwt_rules=tuple(_random_jwt_rule(random) for _ in range(random.choice((1, 1, 2)))),
    )


def _random_jwt_rule(random: Random) -> JwtRule:
    return JwtRule(
        issuer=pick(random, ISSUERS),
        audiences=random.choice(_AUDIENCES),
        jwks=pick(random, tuple(key_sets())),
        from_headers=random.choice(_HEADER_LOCATIONS),
        from_params=random.choice(_PARAMETERS),
        from_cookies=random.choice(_COOKIES),
        forward_original_token=random.random() < 0.4,
        output_payload_to_header=random.choice(("", "", "x-payload", "X-Other")),
        output_claim_to_headers=tuple(random.sample(_OUTPUTS, k=random.choice((0, 1, 2)))),
        space_delimited_claims=random.choice(_SPACE_DELIMITED),
    )


def _with_tokens(random: Random, question: Http, rules: Sequence[JwtRule]) -> Http:
    """The question with no token, one or several, mostly where a rule looks for them."""
    for _ in range(random.choice((0, 1, 1, 1, 1, 2, 3))):
        rule = random.choice(rules)
        question = _with_token(random, question, rule, random_token(random, rule))
    if random.random() < 0.03:
        preflight = (("origin", "https://x"), ("access-control-request-method", "GET"))
        question = replace(question, method="OPTIONS", headers=(*question.headers, *preflight))
    return question


def _with_token(random: Random, question: Http, rule: JwtRule, token: str) -> Http:
    headers, parameters = rule.from_headers, rule.from_params
    if (not headers and not parameters and not rule.from_cookies) or random.random() < 0.05:
        headers, parameters = (TokenHeader(name="authorization", prefix="Bearer "),), ("access_token",)
    locations: list[TokenHeader | _Parameter | _Cookie] = [
        *headers,
        *map(_Parameter, parameters),
        *map(_Cookie, rule.from_cookies),
    ]
    match random.choice(locations):
        case TokenHeader(name=name, prefix=prefix):
            written = prefix if random.random() < 0.9 else random.choice(_PREFIXES)
            return _with_header(question, name, written + token)
        case _Cookie(name):
            return _with_header(question, "cookie", random.choice(_COOKIE_LINES).format(f"{name}={token}"))
        case _Parameter(name):
            path, _, query = question.target.partition("?")
            pairs = [*filter(None, query.split("&")), f"{name}={token}"]
            random.shuffle(pairs)
            return replace(question, target=f"{path}?{'&'.join(pairs)}")


def _with_header(question: Http, name: str, value: str) -> Http:
    return replace(question, headers=(*question.headers, (name, value)))


class _Parameter(NamedTuple):
    name: str


class _Cookie(NamedTuple):
    name: str
