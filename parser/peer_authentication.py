"""PeerAuthentication: from a document to the model, checked as Istio's webhook and schema check it (semantics 8.5)."""

from collections.abc import Mapping

from authz.peer_authentication import MtlsMode, PeerAuthentication
from parser.decode import Decoder
from parser.diagnostics import quoted
from parser.envelope import check_policy_envelope, creation_time, read_envelope
from parser.problems import Problems
from parser.selector import decode_selector
from parser.yaml_nodes import Mapping as MappingNode
from parser.yaml_nodes import Node
from parser.yaml_spans import Spans

__all__ = ["KIND", "decode_peer_authentication"]

KIND = "PeerAuthentication"
_SPEC = ("selector", "mtls", "portLevelMtls")
_MAX_PORT = 65535


def decode_peer_authentication(
    node: MappingNode, problems: Problems, *, default_namespace: str = "default"
) -> PeerAuthentication | None:
    """The PeerAuthentication in a document of this kind; none where something is wrong with it."""
    before = problems.errors
    decoder = Decoder(problems)
    envelope = read_envelope(node, decoder, default_namespace=default_namespace)
    check_policy_envelope(node, envelope, decoder, dry_run=False)
    spec = decoder.fields(node.entries.get("spec"), "spec", _SPEC)
    selector_node = spec.get("selector")
    selector = None if selector_node is None else decode_selector(selector_node, decoder)
    policy = PeerAuthentication(
        namespace=envelope.namespace,
        name=envelope.name,
        created=creation_time(node, decoder),
        selector=selector,
        mode=_mode(spec.get("mtls"), "mtls", decoder),
        port_modes=_port_modes(spec.get("portLevelMtls"), selector, decoder),
        spans=Spans.of(node),
    )
    return policy if problems.errors == before else None


def _mode(node: Node | None, name: str, decoder: Decoder) -> MtlsMode:
    mode = decoder.fields(node, name, ("mode",)).get("mode")
    # P5
    chosen = None if mode is None else decoder.choice(mode, "mode", (each.value for each in MtlsMode))
    return MtlsMode.UNSET if chosen is None else MtlsMode(chosen)


def _port_modes(node: Node | None, selector: Mapping[str, str] | None, decoder: Decoder) -> dict[int, MtlsMode]:
    if node is None:
        return {}
    entries = decoder.entries(node, "portLevelMtls")
    problems = decoder.problems
    if not selector:
        # P1
        message = "`portLevelMtls` is for the workloads of a selector, and this policy has none"
        problems.error("ports-without-selector", message, node.span, help="add a selector with labels")
    if not entries and not decoder.broken(node):
        # P2
        problems.error("no-ports", "`portLevelMtls` is empty", node.span, help="name a port, or remove it")
    modes: dict[int, MtlsMode] = {}
    for key, value in entries.items():
        if not (key.isascii() and key.isdigit() and len(key) <= 5 and 1 <= int(key) <= _MAX_PORT):
            # P3
            written = node.keys[key] if isinstance(node, MappingNode) else node
            message = f"{quoted(key)} is not a port"
            problems.error("bad-port", message, written.span, help=f"a number from 1 to {_MAX_PORT}")
            continue
        modes[int(key)] = _mode(value, "portLevelMtls", decoder)
    return modes
