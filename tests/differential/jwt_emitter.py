"""The second translation of RequestAuthentication: the jwt_authn filter that istiod would write for a workload (semantics 4.1).

As `emitter`, it shares nothing with what it is held against: not the order of rules in `authz.request_authentication`, and
nothing of `authn`.
"""

from collections.abc import Sequence

from authz.request_authentication import JwtRule, RequestAuthentication
from demo.sidecar import Json

__all__ = ["ROOT_NAMESPACE", "jwt_authn"]

ROOT_NAMESPACE = "istio-system"

# Istio looks at these in every token, whatever the rule says.
_SPACE_DELIMITED = ("scope", "permission")


def jwt_authn(policies: Sequence[RequestAuthentication], *, gateway: bool) -> Json | None:
    """The configuration of the filter, where there are rules; `policies` all apply to the one workload."""
    near = [policy for policy in policies if policy.namespace != ROOT_NAMESPACE]
    far = [policy for policy in policies if policy.namespace == ROOT_NAMESPACE]
    rules: list[JwtRule] = []
    for group in (near, far):
        for policy in sorted(group, key=lambda one: (one.created, one.name)):
            rules.extend(policy.jwt_rules)
    if not rules:
        return None
    rules.sort(key=lambda rule: rule.issuer)
    names = [f"origins-{number}" for number in range(len(rules))]
    return {
        "providers": {name: _provider(rule, gateway=gateway) for name, rule in zip(names, rules, strict=True)},
        "rules": [{"match": {"prefix": "/"}, "requires": _requirement(names)}],
        "bypass_cors_preflight": True,
    }


def _requirement(names: list[str]) -> Json:
    each = [_any({"provider_name": name}, {"allow_missing": {}}) for name in names]
    if len(names) == 1:
        return each[0]
    alone: list[Json] = [{"provider_name": name} for name in names]
    return _any(*alone, {"requires_all": {"requirements": each}})


def _any(*requirements: Json) -> Json:
    return {"requires_any": {"requirements": list(requirements)}}


def _provider(rule: JwtRule, *, gateway: bool) -> Json:
    delimited = [*_SPACE_DELIMITED, *(name for name in rule.space_delimited_claims if name not in _SPACE_DELIMITED)]
    provider: Json = {
        "local_jwks": {"inline_string": rule.jwks},
        "forward": rule.forward_original_token,
        "payload_in_metadata": "payload",
        "normalize_payload_in_metadata": {"space_delimited_claims": delimited},
        "clear_route_cache": gateway,
    }
    if rule.issuer:
        provider["issuer"] = rule.issuer
    if rule.audiences:
        provider["audiences"] = list(rule.audiences)
    if rule.from_headers:
        provider["from_headers"] = [{"name": each.name, "value_prefix": each.prefix} for each in rule.from_headers]
    if rule.from_params:
        provider["from_params"] = list(rule.from_params)
    if rule.from_cookies:
        provider["from_cookies"] = list(rule.from_cookies)
    if rule.output_payload_to_header:
        provider["forward_payload_header"] = rule.output_payload_to_header
    if rule.output_claim_to_headers:
        provider["claim_to_headers"] = [
            {"header_name": each.header, "claim_name": each.claim} for each in rule.output_claim_to_headers
        ]
    return provider
