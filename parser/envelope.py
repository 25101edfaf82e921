"""The envelope of a Kubernetes object: what is around its spec."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from authz.span import Span
from parser.decode import Decoder, is_null
from parser.diagnostics import quoted
from parser.yaml_nodes import Mapping as MappingNode
from parser.yaml_nodes import Node, Scalar

__all__ = ["DRY_RUN", "Envelope", "check_policy_envelope", "creation_time", "kind_of", "read_envelope"]

DRY_RUN = "istio.io/dry-run"

_ALWAYS_REJECT = "internal.istio.io/webhook-always-reject"
_RESERVED = ("internal.istio.io/parent-namespace", "internal.istio.io/parents")
_TOP_LEVEL = ("apiVersion", "kind", "metadata", "spec", "status")
# Kubernetes' own rules: a name is a DNS subdomain, a namespace one label of it. Neither has a slash, so that
# `namespace/name` names one policy only.
_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_NAMESPACE = re.compile(_LABEL)
_NAME = re.compile(r"[a-z0-9](?:[-.a-z0-9]*[a-z0-9])?")
_LONGEST_NAME = 253
# RFC 3339, as far as Kubernetes reads it.
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """Who an object is. `span` is the place of its name, or of the object where it has none."""

    api_version: str
    kind: str
    namespace: str
    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, Node]
    span: Span

    @property
    def id(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"


def kind_of(node: Node) -> tuple[str | None, str | None]:
    """`apiVersion` and `kind` of an object, each only if it is there and a string."""
    if not isinstance(node, MappingNode):
        return None, None
    return _string(node.entries.get("apiVersion")), _string(node.entries.get("kind"))


def _string(node: Node | None) -> str | None:
    value = node.value if isinstance(node, Scalar) else None
    return value if isinstance(value, str) else None


def read_envelope(
    node: MappingNode, decoder: Decoder, *, default_namespace: str, may_be_generated: bool = False
) -> Envelope:
    """The envelope of an object; what Kubernetes would refuse in it is an error.

    Where the name may be generated, the constant part of a generated one does for a name.
    """
    api_version, kind = kind_of(node)
    metadata_node = node.entries.get("metadata")
    metadata = decoder.entries(metadata_node, "metadata")
    name_node = metadata.get("name")
    if name_node is not None:
        name = decoder.text(name_node, "metadata.name")
        if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
            _bad_name(decoder, name_node, name, "name", "lower-case letters, digits, `-` and `.`, at most 253")
    elif may_be_generated and "generateName" in metadata:
        name = decoder.text(metadata["generateName"], "metadata.generateName").rstrip("-.")
    else:
        name = ""
        at = node if metadata_node is None or is_null(metadata_node) else metadata_node
        decoder.problems.error("missing-name", "`metadata.name` is missing", at.span, help="give the object a name")
    namespace = default_namespace
    if (namespace_node := metadata.get("namespace")) is not None:
        # Written as "" it is as if it were not there.
        namespace = decoder.text(namespace_node, "metadata.namespace") or default_namespace
        if not _NAMESPACE.fullmatch(namespace):
            _bad_name(decoder, namespace_node, namespace, "namespace", "lower-case letters, digits and `-`, at most 63")
    return Envelope(
        api_version=api_version or "",
        kind=kind or "",
        namespace=namespace,
        name=name,
        labels=decoder.labels(metadata.get("labels"), "metadata.labels"),
        annotations=decoder.entries(metadata.get("annotations"), "metadata.annotations"),
        span=(name_node or node).span,
    )


def creation_time(node: MappingNode, decoder: Decoder) -> str:
    """When the cluster took an object in, in UTC, so that texts sort as times do; empty where it does not say."""
    written = decoder.entries(node.entries.get("metadata"), "metadata").get("creationTimestamp")
    text = decoder.text(written, "metadata.creationTimestamp")
    if written is None or decoder.broken(written):
        return ""
    with suppress(ValueError, OverflowError):
        if _TIME.fullmatch(text):
            moment = datetime.fromisoformat(text).astimezone(UTC)
            return moment.replace(microsecond=0, tzinfo=None).isoformat() + "Z"
    message = f"{quoted(text)} is not a time"
    decoder.problems.error("bad-time", message, written.span, help="remove it: the cluster sets it")
    return ""


def _bad_name(decoder: Decoder, node: Node, text: str, what: str, alphabet: str) -> None:
    if not decoder.broken(node):
        decoder.problems.error("bad-name", f"{quoted(text)} is not a {what}", node.span, help=f"use {alphabet}")


def check_policy_envelope(node: MappingNode, envelope: Envelope, decoder: Decoder, *, dry_run: bool) -> None:
    """What Istio refuses around the spec of its own kinds; `dry_run` is whether this kind can be tried out."""
    problems = decoder.problems
    decoder.fields(node, envelope.kind, _TOP_LEVEL)
    metadata = node.entries.get("metadata")
    annotations = metadata.entries.get("annotations") if isinstance(metadata, MappingNode) else None
    if not isinstance(annotations, MappingNode):
        return
    for name in annotations.entries:
        written = annotations.keys[name]
        if name == DRY_RUN and not dry_run:
            message = f"{envelope.kind} cannot be tried out: `{DRY_RUN}` is for AuthorizationPolicy"
            problems.error("dry-run-unsupported", message, written.span, help="remove the annotation")
        elif name == _ALWAYS_REJECT:
            message = f"`{name}` has every object refused that carries it"
            problems.error("reserved-annotation", message, written.span, help="remove the annotation")
        elif name in _RESERVED:
            message = f"`{name}` is set by Istio, never by people"
            problems.error("reserved-annotation", message, written.span, help="remove the annotation")
