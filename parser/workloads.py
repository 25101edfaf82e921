"""Workloads: what policies select, from the objects that declare it.

Only what is needed is read of these objects, and everything else in them is left alone.
"""

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address

from authz.workload import Workload
from parser.decode import Decoder
from parser.envelope import Envelope, read_envelope
from parser.problems import Problems
from parser.yaml_nodes import Mapping as MappingNode
from parser.yaml_nodes import Node, Scalar, Sequence

__all__ = ["WORKLOAD_KINDS", "decode_workload"]

# Where the pod's own template is in each kind, and the API groups it comes from.
_TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "Pod": (),
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
_WORKLOAD_ENTRY = "WorkloadEntry"

WORKLOAD_KINDS: Mapping[str, str] = {
    "Pod": "",
    "Deployment": "apps",
    "StatefulSet": "apps",
    "DaemonSet": "apps",
    "ReplicaSet": "apps",
    "Job": "batch",
    "CronJob": "batch",
    _WORKLOAD_ENTRY: "networking.istio.io",
}
"""The kinds that declare workloads, with their API groups."""

_MAX_PORT = 65535
_TEMPLATES_ANNOTATION = "inject.istio.io/templates"
_GATEWAY = "gateway"
_PROXY = "istio-proxy"


def decode_workload(
    node: MappingNode, kind: str, problems: Problems, *, default_namespace: str = "default"
) -> Workload | None:
    """The workload that an object of `kind`, one of `WORKLOAD_KINDS`, declares; none where something is wrong with it."""
    before = problems.errors
    decoder = Decoder(problems)
    envelope = read_envelope(node, decoder, default_namespace=default_namespace, may_be_generated=True)
    read = _workload_entry if kind == _WORKLOAD_ENTRY else _pods
    workload = read(node, kind, envelope, decoder)
    return workload if problems.errors == before else None


def _pods(node: MappingNode, kind: str, envelope: Envelope, decoder: Decoder) -> Workload:
    template: Node | None = node
    name = kind
    for name in _TEMPLATES[kind]:  # the last one names the template in messages
        template = decoder.entries(template, name).get(name)
    pod = decoder.entries(template, name)
    # Labels on a Deployment itself say nothing about its pods.
    metadata = decoder.entries(pod.get("metadata"), "metadata")
    labels = decoder.labels(metadata.get("labels"), "labels")
    spec = decoder.entries(pod.get("spec"), "spec")
    containers = [
        decoder.entries(container, "containers") for container in decoder.items(spec.get("containers"), "containers")
    ]
    account = spec.get("serviceAccountName", spec.get("serviceAccount"))  # the second is the older name
    return Workload(
        namespace=envelope.namespace,
        name=envelope.name,
        labels=labels,
        service_account=decoder.text(account, "serviceAccountName") or "default",
        addresses=_addresses(decoder.entries(node, kind).get("status"), decoder) if kind == "Pod" else (),
        ports=tuple(_container_ports(containers, decoder)),
        router=_asks_for_gateway(metadata, decoder) or any(map(_runs_gateway, containers)),
        span=envelope.span,
    )


def _asks_for_gateway(metadata: Mapping[str, Node], decoder: Decoder) -> bool:
    """Whether Istio's injector is told to make the pod a gateway."""
    templates = decoder.entries(metadata.get("annotations"), "annotations").get(_TEMPLATES_ANNOTATION)
    return isinstance(templates, Scalar) and _GATEWAY in (name.strip() for name in templates.text.split(","))


def _runs_gateway(container: Mapping[str, Node]) -> bool:
    """Whether a container is Istio's proxy as a router or a waypoint, and not as a sidecar."""
    name, arguments = container.get("name"), container.get("args")
    if not isinstance(name, Scalar) or name.text != _PROXY or not isinstance(arguments, Sequence):
        return False
    words = [item.text if isinstance(item, Scalar) else "" for item in arguments.items[:2]]
    return words in (["proxy", "router"], ["proxy", "waypoint"])


def _container_ports(containers: Iterable[Mapping[str, Node]], decoder: Decoder) -> Iterator[int]:
    for container in containers:
        for entry in decoder.items(container.get("ports"), "ports"):
            port = decoder.entries(entry, "ports").get("containerPort")
            if port is not None and (number := _port(port, "containerPort", decoder)) is not None:
                yield number


def _port(node: Node, name: str, decoder: Decoder) -> int | None:
    number = decoder.integer(node, name)
    if number is None or 0 < number <= _MAX_PORT:
        return number
    decoder.problems.error(
        "bad-port", f"{number} is not a port", node.span, help=f"write a number from 1 to {_MAX_PORT}"
    )
    return None


def _addresses(status: Node | None, decoder: Decoder) -> tuple[str, ...]:
    fields = decoder.entries(status, "status")
    listed = (decoder.entries(item, "podIPs").get("ip") for item in decoder.items(fields.get("podIPs"), "podIPs"))
    texts = (decoder.text(node, "podIP") for node in (fields.get("podIP"), *listed))
    return tuple(dict.fromkeys(address for text in texts if (address := _address(text)) is not None))


def _address(text: str) -> str | None:
    """An IP address in its canonical text; none for a name or a socket."""
    try:
        return str(ip_address(text))
    except ValueError:
        return None


def _workload_entry(node: MappingNode, _: str, envelope: Envelope, decoder: Decoder) -> Workload:
    spec = decoder.entries(node.entries.get("spec"), "spec")
    address = _address(decoder.text(spec.get("address"), "address"))
    ports = (_port(port, "ports", decoder) for port in decoder.entries(spec.get("ports"), "ports").values())
    return Workload(
        namespace=envelope.namespace,
        name=envelope.name,
        # Where both say something, Istio goes by the metadata.
        labels={**decoder.labels(spec.get("labels"), "labels"), **envelope.labels},
        service_account=decoder.text(spec.get("serviceAccount"), "serviceAccount") or "default",
        addresses=() if address is None else (address,),
        ports=tuple(port for port in ports if port is not None),
        span=envelope.span,
    )
