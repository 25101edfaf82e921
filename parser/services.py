"""Services: what policies may name as a target, and which ports of a workload they lead to."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from parser.decode import Decoder, is_null
from parser.envelope import Envelope, read_envelope
from parser.problems import Problems
from parser.yaml_nodes import Mapping as MappingNode
from parser.yaml_nodes import Node, Scalar

__all__ = ["SERVICE_KINDS", "Service", "ServicePort", "decode_service"]

_SERVICE_ENTRY = "ServiceEntry"
SERVICE_KINDS: Mapping[str, str] = {"Service": "", _SERVICE_ENTRY: "networking.istio.io"}
"""The kinds that declare services, with their API groups."""

# What Istio takes for something else than HTTP, by `appProtocol` or by the first word of the port's name. Of what it does not
# know, the proxy finds out what it is.
_OPAQUE = frozenset({"tcp", "tls", "https", "mongo", "mysql", "redis", "udp"})


@dataclass(frozen=True, slots=True)
class ServicePort:
    """A port of a Service, and the one of its workloads that it leads to; none where that has a name only.

    `opaque` is whether it carries what a proxy would not read as HTTP.
    """

    number: int
    target: int | None
    opaque: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A Kubernetes Service, or a ServiceEntry if `external`.

    `hosts` are those of a ServiceEntry; a Service has its host by its name. `opaque` is whether none of its ports carries what
    a proxy would read as HTTP; false where it has none.
    """

    namespace: str
    name: str
    external: bool = False
    hosts: tuple[str, ...] = ()
    selector: Mapping[str, str] = field(default_factory=dict)
    opaque: bool = False
    ports: tuple[ServicePort, ...] = ()


def decode_service(
    node: MappingNode, kind: str, problems: Problems, *, default_namespace: str = "default"
) -> Service | None:
    """The service that an object of `kind`, one of `SERVICE_KINDS`, declares; none where something is wrong with it."""
    before = problems.errors
    decoder = Decoder(problems)
    envelope = read_envelope(node, decoder, default_namespace=default_namespace, may_be_generated=True)
    spec = decoder.entries(node.entries.get("spec"), "spec")
    service = _read(spec, envelope, decoder, external=kind == _SERVICE_ENTRY)
    return service if problems.errors == before else None


def _read(spec: Mapping[str, Node], envelope: Envelope, decoder: Decoder, *, external: bool) -> Service:
    if external:
        return Service(
            namespace=envelope.namespace,
            name=envelope.name,
            external=True,
            hosts=decoder.texts(spec.get("hosts"), "hosts"),
        )
    ports = [decoder.entries(port, "ports") for port in decoder.items(spec.get("ports"), "ports")]
    return Service(
        namespace=envelope.namespace,
        name=envelope.name,
        selector=decoder.labels(spec.get("selector"), "selector"),
        opaque=bool(ports) and all(_is_opaque(port, decoder) for port in ports),
        ports=tuple(found for port in ports if (found := _port(port, decoder)) is not None),
    )


def _port(port: Mapping[str, Node], decoder: Decoder) -> ServicePort | None:
    """A port as far as it says what it is: what else is wrong with services is not for policies to say."""
    number, target = _number(port.get("port")), port.get("targetPort")
    if number is None:
        return None
    return ServicePort(number, number if is_null(target) else _number(target), _is_opaque(port, decoder))


def _number(node: Node | None) -> int | None:
    value = node.value if isinstance(node, Scalar) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _is_opaque(port: Mapping[str, Node], decoder: Decoder) -> bool:
    application = decoder.text(port.get("appProtocol"), "appProtocol")
    name = decoder.text(port.get("name"), "name")
    return (application or name.partition("-")[0]).lower() in _OPAQUE
