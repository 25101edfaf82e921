"""Tokens: who verifies them, and whether anybody asks for one."""

from collections.abc import Iterator

from authz.findings.codes import TOKEN_NEVER_REQUIRED, UNKNOWN_ISSUER
from authz.findings.finding import Finding, named
from authz.findings.reading import ReadRule, Value
from authz.matcher import Exact, IssuedTo
from authz.request_authentication import JwtRule
from mesh.findings.surroundings import Surroundings
from parser.problems import nearest

__all__ = ["find_about_tokens", "find_unknown_issuers"]


def find_about_tokens(mesh: Surroundings) -> Iterator[Finding]:
    """RequestAuthentications that nobody makes use of: a request without a token goes on."""
    if not mesh.manifests.policies:
        return
    for policy in mesh.manifests.request_authentications:
        # What is handed on, the application may look at.
        handed_on = any(map(_hands_on, policy.jwt_rules))
        if policy.jwt_rules and not handed_on and not mesh.looks_at_tokens(policy):
            yield Finding(
                code=TOKEN_NEVER_REQUIRED,
                policy=policy,
                path=("metadata", "name"),
                message="tokens are verified here, and no AuthorizationPolicy asks for one: a request without a token goes on",
                help='ask for one: an AuthorizationPolicy with action DENY and `notRequestPrincipals: ["*"]`',
            )


def _hands_on(rule: JwtRule) -> bool:
    return rule.forward_original_token or bool(rule.output_payload_to_header or rule.output_claim_to_headers)


def find_unknown_issuers(rule: ReadRule, mesh: Surroundings) -> Iterator[Finding]:
    """Issuers that a rule names, and that no RequestAuthentication does."""
    if mesh.issuers is None:
        return
    for clause in rule.clauses:
        if clause.attribute.key != "request.auth.principal":
            continue
        for name, values in ((clause.name, clause.wanted), (clause.not_name, clause.unwanted)):
            for value in values:
                if (issuer := _issuer(value)) is not None and issuer not in mesh.issuers:
                    yield Finding(
                        code=UNKNOWN_ISSUER,
                        policy=rule.policy,
                        path=value.path,
                        message=f"{named(value.text)} in `{name}`: no RequestAuthentication takes tokens of the issuer {named(issuer)}",
                        help=_meant(value, issuer, mesh.issuers),
                    )


def _issuer(value: Value) -> str | None:
    match value.matchers[0]:
        case IssuedTo(Exact(issuer), _):
            return issuer
        case _:
            return None


def _meant(value: Value, issuer: str, known: frozenset[str]) -> str:
    # What stands before the last slash is the issuer, so one that ends with a slash needs another.
    if f"{issuer}/" in known:
        return f"its issuer ends with a slash: write `{issuer}/{value.text.removeprefix(issuer)}`"
    if value.text in known:
        return f"write `{value.text}/*` for all of its tokens"
    if any(value.text.startswith(f"{each}/") for each in known):
        return "a subject with a slash in it cannot be named so: look at `request.auth.claims[sub]` in `when`"
    near = nearest(issuer, sorted(known))
    return f"did you mean `{near}`?" if near else "write `issuer/subject`, or add the issuer to `jwtRules`"
