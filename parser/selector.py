"""The workload selector that all of Istio's security policies share (semantics 8.2)."""

from itertools import islice

from parser.decode import Decoder
from parser.diagnostics import quoted
from parser.yaml_nodes import Mapping as MappingNode
from parser.yaml_nodes import Node, Scalar

__all__ = ["decode_selector"]

_MAX_LABEL = 63
_MAX_LABELS = 4096


def decode_selector(node: Node, decoder: Decoder) -> dict[str, str]:
    """The labels of a selector, checked as Istio checks them."""
    problems = decoder.problems
    fields = decoder.fields(node, "selector", ("matchLabels",))
    labels_node = fields.get("matchLabels")
    labels = decoder.labels(labels_node, "matchLabels")
    known = node.entries.keys() <= {"matchLabels"} if isinstance(node, MappingNode) else True
    if not labels and known and not decoder.broken(node) and not decoder.broken(labels_node):
        # S4
        problems.warning(
            "empty-selector",
            "a selector without labels selects every workload",
            node.span,
            help="remove `selector`, or add labels",
        )
    if labels_node is not None and len(labels) > _MAX_LABELS:
        # S8
        message = f"more than {_MAX_LABELS} labels"
        problems.error(
            "too-many-labels", message, labels_node.span, help="a few labels are enough to tell workloads apart"
        )
    for key, value in islice(labels.items(), _MAX_LABELS):
        written = labels_node.keys[key] if isinstance(labels_node, MappingNode) else node
        _check_label(key, value, written, decoder)
    return labels


def _check_label(key: str, value: str, written: Node | Scalar, decoder: Decoder) -> None:
    if not key:
        # S2
        decoder.problems.error("empty-label", "a label needs a key", written.span, help="write the label's key")
    if "*" in key or "*" in value:
        # S3
        message = f"no wildcards in labels: {quoted(f'{key}: {value}')}"
        decoder.problems.error("wildcard-label", message, written.span, help="name the label in full")
    if len(value) > _MAX_LABEL:
        # S8
        message = f"the value of a label has at most {_MAX_LABEL} characters"
        decoder.problems.error("long-label", message, written.span, help="shorten it")
