"""Resource documents: a policy of any of the three kinds as the Kubernetes object that says the same."""

import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from authz.keys import OPERATION_FIELDS, SOURCE_FIELDS
from authz.model import Condition, Operation, Policy, Rule, Source, TargetRef, field_name
from authz.peer_authentication import MtlsMode, PeerAuthentication
from authz.request_authentication import JwtRule, Presence, RequestAuthentication
from authz.span import Path
from parser import yaml_nodes
from parser.envelope import DRY_RUN
from parser.source import Source as Text
from parser.yaml_nodes import Node, Scalar
from parser.yaml_spans import Spans

__all__ = ["API_VERSION", "Document", "Resource", "document_of", "fields_of", "node_of", "seconds"]

API_VERSION = "security.istio.io/v1"

Resource = Policy | RequestAuthentication | PeerAuthentication
"""One of Istio's security policies."""

Document = None | bool | str | Sequence["Document"] | Mapping[str, "Document"]
"""The value of an object: what is in such a document is text, truth, or made of those."""


def document_of(resource: Resource) -> dict[str, Document]:
    """The object that says `resource`, its keys in the order in which people read them. What is not given is left out."""
    metadata: dict[str, Document] = {"name": resource.name, "namespace": resource.namespace}
    spec: dict[str, Document] = {}
    if resource.selector is not None:
        spec["selector"] = {"matchLabels": dict(resource.selector)} if resource.selector else {}
    match resource:
        case Policy():
            if resource.dry_run:
                metadata["annotations"] = {DRY_RUN: "true"}
            spec |= {**_targets(resource.target_refs), "action": resource.action.value}
            if resource.provider is not None:
                spec["provider"] = {"name": resource.provider}
            spec |= _given("rules", [_rule(rule) for rule in resource.rules])
            return _object("AuthorizationPolicy", metadata, spec)
        case RequestAuthentication():
            metadata |= _given("creationTimestamp", resource.created)
            spec |= {**_targets(resource.target_refs), **_given("jwtRules", list(map(_jwt_rule, resource.jwt_rules)))}
            return _object("RequestAuthentication", metadata, spec)
        case PeerAuthentication():
            metadata |= _given("creationTimestamp", resource.created)
            if resource.mode is not MtlsMode.UNSET:
                spec["mtls"] = {"mode": resource.mode.value}
            ports = {str(port): {"mode": mode.value} for port, mode in resource.port_modes.items()}
            return _object("PeerAuthentication", metadata, spec | _given("portLevelMtls", ports))


def node_of(resource: Resource, spans: Spans) -> Node:
    """The tree that `document_of(resource)` would have been read as, with every value where `spans` says it is.

    What has no place of its own has that of what it is part of. `spans` must know the place of the whole.
    """
    return _node(document_of(resource), (), spans.positions[()], spans)


def fields_of(part: Source | Operation) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """The fields of a source or an operation that say something: their names in the model, what is wanted and what is not."""
    for field in SOURCE_FIELDS if isinstance(part, Source) else OPERATION_FIELDS:
        wanted: tuple[str, ...] = getattr(part, field)
        unwanted: tuple[str, ...] = getattr(part, f"not_{field}")
        if wanted or unwanted:
            yield field, wanted, unwanted


def seconds(timeout: float) -> str:
    """A duration as documents have it, exactly: `0.5s`."""
    return f"{Decimal(repr(timeout)):f}".removesuffix(".0") + "s"


def _object(kind: str, metadata: Document, spec: Document) -> dict[str, Document]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def _given(name: str, value: Document) -> dict[str, Document]:
    return {name: value} if value else {}


def _targets(references: tuple[TargetRef, ...]) -> dict[str, Document]:
    return _given("targetRefs", [_target(reference) for reference in references])


def _target(reference: TargetRef) -> Document:
    group = _given("group", reference.group)
    namespace: dict[str, Document] = {} if reference.namespace is None else {"namespace": reference.namespace}
    return {**group, "kind": reference.kind, "name": reference.name, **namespace}


def _rule(rule: Rule) -> Document:
    return {
        **_given("from", [{"source": _lists(source)} for source in rule.sources]),
        **_given("to", [{"operation": _lists(operation)} for operation in rule.operations]),
        **_given("when", [_condition(condition) for condition in rule.conditions]),
    }


def _lists(part: Source | Operation) -> Document:
    return {
        name: values
        for field, wanted, unwanted in fields_of(part)
        for name, values in ((field_name(field), wanted), (field_name(f"not_{field}"), unwanted))
        if values
    }


def _condition(condition: Condition) -> Document:
    return {
        "key": condition.key,
        **_given("values", condition.values),
        **_given("notValues", condition.not_values),
    }


def _jwt_rule(rule: JwtRule) -> Document:
    return {
        **_given("issuer", rule.issuer),
        **_given("audiences", rule.audiences),
        **_given("jwksUri", rule.jwks_uri),
        **_given("jwks", rule.jwks),
        **_given("fromHeaders", [{"name": each.name, **_given("prefix", each.prefix)} for each in rule.from_headers]),
        **_given("fromParams", rule.from_params),
        **_given("fromCookies", rule.from_cookies),
        **_given("forwardOriginalToken", rule.forward_original_token),
        **_given("outputPayloadToHeader", rule.output_payload_to_header),
        **_given(
            "outputClaimToHeaders",
            [{"header": each.header, "claim": each.claim} for each in rule.output_claim_to_headers],
        ),
        **_given("spaceDelimitedClaims", rule.space_delimited_claims),
        **({} if rule.timeout == JwtRule().timeout else {"timeout": seconds(rule.timeout)}),
        **({} if rule.presence is Presence.OPTIONAL else {"presence": rule.presence.value}),
    }


def _node(value: Document, path: Path, around: tuple[int, int], spans: Spans) -> Node:
    start, end = at = spans.positions.get(path, around)
    match value:
        case Mapping():
            entries = {key: _node(each, (*path, key), at, spans) for key, each in value.items()}
            keys = {key: _scalar(key, spans.source, *spans.positions.get((*path, key), at)) for key in entries}
            return yaml_nodes.Mapping(entries, keys, spans.source, start, end)
        case str():
            return _scalar(value, spans.source, start, end)
        case Sequence():
            items = tuple(_node(each, (*path, index), at, spans) for index, each in enumerate(value))
            return yaml_nodes.Sequence(items, spans.source, start, end)
        case None | bool():
            return _scalar(json.dumps(value), spans.source, start, end, plain=True)


def _scalar(text: str, source: Text, start: int, end: int, *, plain: bool = False) -> Scalar:
    return Scalar(text, plain, source, start, end)
