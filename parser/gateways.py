"""Gateways of the Gateway API: the workloads that Istio makes of them, and what policies may name as a target."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from authz.span import Span
from authz.workload import GATEWAY_CLASS_LABEL, GATEWAY_LABEL, WAYPOINT_CLASS, Workload
from parser.decode import Decoder
from parser.envelope import Envelope, read_envelope
from parser.problems import Problems
from parser.yaml_nodes import Mapping as MappingNode
from parser.yaml_nodes import Node, Scalar

__all__ = ["GROUP", "KIND", "Gateway", "decode_gateway"]

GROUP = "gateway.networking.k8s.io"
KIND = "Gateway"

# Gateways of this class stand for those of another cluster: nothing runs here for them.
_REMOTE_CLASS = "istio-remote"
_SERVICE_ACCOUNT = "gateway.istio.io/service-account"
_ADDRESS_TYPE = "IPAddress"
_RESERVED = "gateway.networking.k8s.io/"
_MAX_PORT = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A Gateway. `workload` is what Istio runs for it; none where it runs nothing, or the class does not say."""

    namespace: str
    name: str
    workload: Workload | None = None
    span: Span | None = field(default=None, compare=False, repr=False)


def decode_gateway(node: MappingNode, problems: Problems, *, default_namespace: str = "default") -> Gateway | None:
    """The Gateway in a document of this kind; none where something is wrong with it."""
    before = problems.errors
    decoder = Decoder(problems)
    envelope = read_envelope(node, decoder, default_namespace=default_namespace, may_be_generated=True)
    spec = decoder.entries(node.entries.get("spec"), "spec")
    gateway = Gateway(
        namespace=envelope.namespace,
        name=envelope.name,
        workload=_workload(spec, envelope, decoder) if _is_managed(spec, decoder) else None,
        span=envelope.span,
    )
    return gateway if problems.errors == before else None


def _is_managed(spec: Mapping[str, Node], decoder: Decoder) -> bool:
    """Whether Istio makes the pods: not where an address names the service of pods that are there already."""
    addresses = decoder.items(spec.get("addresses"), "addresses")
    types = [_text(decoder.entries(address, "addresses").get("type")) or _ADDRESS_TYPE for address in addresses]
    return not types or types == [_ADDRESS_TYPE]


def _workload(spec: Mapping[str, Node], envelope: Envelope, decoder: Decoder) -> Workload | None:
    gateway_class = decoder.text(spec.get("gatewayClassName"), "gatewayClassName")
    if gateway_class in ("", _REMOTE_CLASS):
        return None
    waypoint = gateway_class == WAYPOINT_CLASS
    account = envelope.name if waypoint else f"{envelope.name}-{gateway_class}"
    infrastructure = decoder.entries(spec.get("infrastructure"), "infrastructure")
    given = infrastructure.get("labels")
    labels = envelope.labels if given is None else decoder.labels(given, "labels")
    return Workload(
        namespace=envelope.namespace,
        name=envelope.name,
        labels={
            **{name: value for name, value in labels.items() if not name.startswith(_RESERVED)},
            GATEWAY_LABEL: envelope.name,
            GATEWAY_CLASS_LABEL: gateway_class,
        },
        service_account=_text(envelope.annotations.get(_SERVICE_ACCOUNT)) or account,
        # Policies see the port of the service behind a waypoint, never the one that it listens on.
        ports=() if waypoint else _ports(spec.get("listeners"), decoder),
        router=True,
        span=envelope.span,
    )


def _ports(node: Node | None, decoder: Decoder) -> tuple[int, ...]:
    written = (decoder.entries(listener, "listeners").get("port") for listener in decoder.items(node, "listeners"))
    numbers = (decoder.integer(port, "port") for port in written if port is not None)
    return tuple(dict.fromkeys(number for number in numbers if number is not None and 0 < number <= _MAX_PORT))


def _text(node: Node | None) -> str:
    return node.text if isinstance(node, Scalar) and isinstance(node.value, str) else ""
