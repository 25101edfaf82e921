"""What AuthorizationPolicy and RequestAuthentication attach to: a selector or targets (semantics 8.2).

Every check names its row there.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from authz.model import TargetRef
from parser.decode import Decoder, is_null
from parser.diagnostics import quoted
from parser.selector import decode_selector
from parser.yaml_nodes import Node

__all__ = ["TARGETS", "Targets", "decode_targets"]

TARGETS = ("selector", "targetRef", "targetRefs")
"""The fields of a spec that are read here."""

_MAX_TARGETS = 16
_TARGET = ("group", "kind", "name", "namespace")
_KINDS = {
    "Service": ("", "core"),
    "ServiceEntry": ("networking.istio.io",),
    "Gateway": ("gateway.networking.k8s.io",),
    "GatewayClass": ("gateway.networking.k8s.io",),
}
_LONGEST_KIND = 63
_LONGEST_NAME = 253
_KIND = re.compile(r"[a-zA-Z](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?")
_GROUP = re.compile(r"(?:[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*)?")


class Targets(NamedTuple):
    """What a policy attaches to; `selector` is none where it has none."""

    selector: dict[str, str] | None
    references: tuple[TargetRef, ...]


def decode_targets(spec: Mapping[str, Node], decoder: Decoder) -> Targets:
    """What the fields `TARGETS` of a spec say."""
    selector_node, one, several = (spec.get(field) for field in TARGETS)
    selector = None if selector_node is None else decode_selector(selector_node, decoder)
    listed = decoder.items(several, "targetRefs")
    given = [each for each in (selector_node, one, several if listed else None) if each is not None]
    if len(given) > 1:
        # S1
        decoder.problems.error(
            "several-targets",
            "only one of `selector`, `targetRef` and `targetRefs` may be set",
            max(given, key=lambda each: each.start).span,
            help="keep one of them",
        )
    if several is not None and len(listed) > _MAX_TARGETS:
        # S8
        message = f"more than {_MAX_TARGETS} targets"
        decoder.problems.error("too-many-targets", message, several.span, help="split the policy")
    references = tuple(_target(target, "targetRefs", decoder) for target in listed[:_MAX_TARGETS])
    # The older field counts only where the list is empty.
    return Targets(selector, references or (() if one is None else (_target(one, "targetRef", decoder),)))


def _target(node: Node, name: str, decoder: Decoder) -> TargetRef:
    fields = decoder.fields(node, name, _TARGET)
    if is_null(node):
        decoder.expected("a mapping", name, node, help="name the target, or remove the entry")
    text = {field: decoder.text(fields.get(field), field) for field in _TARGET}
    if not decoder.broken(node):
        _check_name(node, name, fields.get("name"), text["name"], decoder)
        if text["namespace"]:
            # S6
            decoder.problems.error(
                "foreign-target",
                "a target is in the namespace of its policy",
                fields["namespace"].span,
                help="remove `namespace`, and put the policy where its target is",
            )
        _check_kind(node, fields, text["group"], text["kind"], decoder)
    return TargetRef(kind=text["kind"], name=text["name"], group=text["group"], namespace=text["namespace"] or None)


def _check_name(node: Node, what: str, written: Node | None, name: str, decoder: Decoder) -> None:
    if decoder.broken(written):
        return
    if not name:
        # S5, S8
        decoder.problems.error("incomplete-target", f"`{what}` needs a `name`", node.span, help="name the target")
    elif len(name) > _LONGEST_NAME and written is not None:
        # S8
        message = f"the name of a target has at most {_LONGEST_NAME} characters"
        decoder.problems.error("long-target", message, written.span, help="write the name that the target has")


def _check_kind(node: Node, fields: Mapping[str, Node], group: str, kind: str, decoder: Decoder) -> None:
    if decoder.broken(fields.get("kind")) or decoder.broken(fields.get("group")):
        return
    choices = ", ".join(f"{groups[-1]}/{each}" for each, groups in _KINDS.items())
    well_formed = {
        "kind": len(kind) <= _LONGEST_KIND and (not kind or _KIND.fullmatch(kind) is not None),
        "group": len(group) <= _LONGEST_NAME and _GROUP.fullmatch(group) is not None,
    }
    for field, text in (("kind", kind), ("group", group)):
        if not well_formed[field]:
            # S8
            message = f"{quoted(text)} is not a {field} of Kubernetes objects"
            decoder.problems.error("bad-target", message, fields[field].span, help=f"write one of {choices}")
    if all(well_formed.values()) and group not in _KINDS.get(kind, ()):
        # S7, and S8 where the kind is missing
        at = fields.get("kind", node)
        message = f"a policy cannot attach to {quoted(f'{group}/{kind}' if group else kind)}"
        decoder.problems.error("unknown-target", message, at.span, help=f"write one of {choices}")
