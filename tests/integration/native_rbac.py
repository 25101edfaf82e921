"""A few policies twice: as Istio's YAML for meshward, and by hand as what Istio makes of it for Envoy's RBAC filter."""

import json
from collections.abc import Mapping, Sequence

from demo.sidecar import Json
from tests.integration.serving import policy

_WEB = "spiffe://cluster.local/ns/shop/sa/web"

POLICIES: Mapping[str, str] = {
    "shopping": policy(
        "shopping",
        "ALLOW",
        """
        rules:
          - from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]
            to: [{operation: {methods: [GET, DELETE], paths: [/items, "/items/*", "*.secret"]}}]
          - to: [{operation: {paths: [/orders], notMethods: [DELETE], hosts: ["api.shop:8080", "*.internal"]}}]
            when: [{key: "request.headers[x-role]", values: [buyer]}]
        """,
        app="shopping",
    ),
    "hosts": policy(
        "no-hosts",
        "DENY",
        """
        rules:
          - to: [{operation: {hosts: ["*.internal", "Admin.Shop"]}}]
          - to: [{operation: {notHosts: ["api.shop*"], notPaths: ["/items*"]}}]
          - when: [{key: "request.headers[x-role]", values: [guest]}]
          - when: [{key: "request.headers[x-tier]", values: ["*"], notValues: ["gold*"]}]
        """,
        app="hosts",
    ),
    "callers": policy(
        "callers",
        "ALLOW",
        """
        rules:
          - from: [{source: {notPrincipals: ["*"]}}]
            to: [{operation: {methods: [POST]}}]
          - from: [{source: {namespaces: [shop], remoteIpBlocks: [198.51.100.0/24]}}]
          - from: [{source: {principals: ["cluster.local/ns/shop/*"], ipBlocks: [127.0.0.0/8]}}]
            when: [{key: connection.sni, values: [api.shop]}, {key: "request.headers[x-tier]", notValues: [gold]}]
        """,
        app="callers",
    ),
}


def _permission(*all_of: Json) -> Json:
    return {"and_rules": {"rules": list(all_of)}}


def _principal(*all_of: Json) -> Json:
    return {"and_ids": {"ids": list(all_of)}}


def _any_permission(*any_of: Json) -> Json:
    return {"or_rules": {"rules": list(any_of)}}


def _any_principal(*any_of: Json) -> Json:
    return {"or_ids": {"ids": list(any_of)}}


def _not(rule: Json) -> Json:
    return {"not_rule": rule}


def _not_id(principal: Json) -> Json:
    return {"not_id": principal}


def _path(**match: str) -> Json:
    return {"url_path": {"path": match}}


def _header(name: str, *, ignore_case: bool = False, **match: str) -> Json:
    return {"header": {"name": name, "string_match": {**match, "ignore_case": ignore_case}}}


def _host(**match: str) -> Json:
    return _header(":authority", ignore_case=True, **match)


def _regex(pattern: str) -> Json:
    return {"authenticated": {"principal_name": {"safe_regex": {"regex": pattern}}}}


def _cidr(address: str, length: int) -> Json:
    return {"address_prefix": address, "prefix_len": length}


_ANY_ID: Json = {"any": True}
_ANY_RULE: Json = {"any": True}

_METHODS = _any_permission(_header(":method", exact="GET"), _header(":method", exact="DELETE"))
_PATHS = _any_permission(_path(exact="/items"), _path(prefix="/items/"), _path(suffix=".secret"))
_PRESENT: Json = {"header": {"name": "x-tier", "present_match": True}}

NATIVE: Mapping[str, Sequence[Json]] = {
    "shopping": [
        {
            "action": "ALLOW",
            "policies": {
                "rule-0": {
                    "permissions": [_permission(_METHODS, _PATHS)],
                    "principals": [{"authenticated": {"principal_name": {"exact": _WEB}}}],
                },
                "rule-1": {
                    "permissions": [
                        _permission(
                            _path(exact="/orders"),
                            _not(_header(":method", exact="DELETE")),
                            _any_permission(_host(exact="api.shop:8080"), _host(suffix=".internal")),
                        )
                    ],
                    "principals": [_header("x-role", exact="buyer")],
                },
            },
        }
    ],
    "hosts": [
        {
            "action": "DENY",
            "policies": {
                "rule-0": {
                    "permissions": [_any_permission(_host(suffix=".internal"), _host(exact="Admin.Shop"))],
                    "principals": [_ANY_ID],
                },
                "rule-1": {
                    "permissions": [_permission(_not(_host(prefix="api.shop")), _not(_path(prefix="/items")))],
                    "principals": [_ANY_ID],
                },
                "rule-2": {"permissions": [_ANY_RULE], "principals": [_header("x-role", exact="guest")]},
                "rule-3": {
                    "permissions": [_ANY_RULE],
                    "principals": [_principal(_PRESENT, _not_id(_header("x-tier", prefix="gold")))],
                },
            },
        }
    ],
    "callers": [
        {
            "action": "ALLOW",
            "policies": {
                "rule-0": {
                    "permissions": [_header(":method", exact="POST")],
                    "principals": [_not_id(_any_principal(_regex(".+")))],
                },
                "rule-1": {
                    "permissions": [_ANY_RULE],
                    "principals": [_principal(_regex(".*/ns/shop/.*"), {"remote_ip": _cidr("198.51.100.0", 24)})],
                },
                "rule-2": {
                    "permissions": [{"requested_server_name": {"exact": "api.shop"}}],
                    "principals": [
                        _principal(
                            {"authenticated": {"principal_name": {"prefix": "spiffe://cluster.local/ns/shop/"}}},
                            {"direct_remote_ip": _cidr("127.0.0.0", 8)},
                            _not_id(_header("x-tier", exact="gold")),
                        )
                    ],
                },
            },
        }
    ],
}


def native(listener: Json, name: str, filters: Sequence[Json]) -> Json:
    """`listener`, which asks meshward, with RBAC filters in the place of that."""
    copy = json.loads(json.dumps(listener))
    copy["name"] = name
    rbac = "envoy.extensions.filters.http.rbac.v3.RBAC"
    for chain in copy["filter_chains"]:
        manager = chain["filters"][0]["typed_config"]
        manager["http_filters"][:1] = [
            {
                "name": "envoy.filters.http.rbac",
                "typed_config": {"@type": f"type.googleapis.com/{rbac}", "rules": rules},
            }
            for rules in filters
        ]
        for host in manager["route_config"]["virtual_hosts"]:
            host["typed_per_filter_config"] = {}
    return dict(copy)
