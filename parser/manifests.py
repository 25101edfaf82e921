"""Manifests: everything in a set of files that meshward can use, and all that is wrong with it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from authz.mesh_config import MeshConfig
from authz.model import Policy
from authz.peer_authentication import PeerAuthentication
from authz.request_authentication import RequestAuthentication
from authz.span import Span
from authz.workload import GATEWAY_LABEL, Workload
from parser import authorization_policy, gateways, peer_authentication, request_authentication, services, workloads
from parser.decode import Decoder, is_null
from parser.diagnostics import Diagnostic, Severity, quoted
from parser.envelope import kind_of, read_envelope
from parser.gateways import Gateway
from parser.mesh_config import decode_mesh_config, mesh_config_in
from parser.problems import Problems, nearest
from parser.services import Service
from parser.ward_text import is_ward
from parser.ward_words import in_ward_words
from parser.yaml_nodes import Mapping as MappingNode
from parser.yaml_nodes import Node, described, documents
from parser.yaml_text import text_for_excerpts

__all__ = ["Manifests", "parse_manifests"]

_SECURITY_KINDS = (authorization_policy.KIND, request_authentication.KIND, peer_authentication.KIND)
P = TypeVar("P", Policy, RequestAuthentication, PeerAuthentication)

_NO_KIND = "no kind"
_MISSPELT = 0.8
_LONGEST_KIND = 63  # Kubernetes allows no more


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifests:
    """What a set of files declares.

    A policy or workload with an error is not among them; whoever enforces must refuse the whole
    where `errors` says so. Istio makes workloads of gateways of the Gateway API, and they are among `workloads` where no
    document declares their pods. `skipped` counts the documents of kinds that are not used. `diagnostics` are in the order
    of files given, then of places. `texts` are the texts of the files that diagnostics point into, for `render`.
    """

    policies: tuple[Policy, ...] = ()
    request_authentications: tuple[RequestAuthentication, ...] = ()
    peer_authentications: tuple[PeerAuthentication, ...] = ()
    workloads: tuple[Workload, ...] = ()
    namespaces: tuple[str, ...] = ()
    services: tuple[Service, ...] = ()
    gateways: tuple[Gateway, ...] = ()
    mesh_config: MeshConfig | None = None
    skipped: Mapping[str, int] = field(default_factory=dict)
    files: int = 0
    diagnostics: tuple[Diagnostic, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def errors(self) -> bool:
        """Whether something is wrong, and not only worth a warning."""
        return any(diagnostic.severity is Severity.ERROR for diagnostic in self.diagnostics)


def parse_manifests(files: Iterable[tuple[str, bytes]], *, default_namespace: str = "default") -> Manifests:
    """Read files, each a name and its bytes. Never raises for what is in them."""
    collector = _Collector(default_namespace)
    count = 0
    for name, data in files:
        collector.read(name, data)
        count += 1
    return Manifests(
        policies=tuple(collector.policies.values()),
        request_authentications=tuple(collector.request_authentications.values()),
        peer_authentications=tuple(collector.peer_authentications.values()),
        workloads=(*collector.workloads, *collector.undeclared_gateways()),
        namespaces=tuple(filter(None, collector.namespaces)),
        services=tuple(collector.services),
        gateways=tuple(collector.gateways),
        mesh_config=collector.mesh_config,
        skipped=dict(sorted(collector.skipped.items())),
        files=count,
        diagnostics=tuple(collector.diagnostics),
        texts=collector.texts,
    )


class _Collector:
    """Gathers what the documents of one file after the other hold."""

    def __init__(self, default_namespace: str) -> None:
        self._default_namespace = default_namespace
        self._problems = Problems()
        self._mesh_config_at: Span | None = None
        self.policies: dict[str, Policy] = {}
        self.request_authentications: dict[str, RequestAuthentication] = {}
        self.peer_authentications: dict[str, PeerAuthentication] = {}
        self.workloads: list[Workload] = []
        self.namespaces: dict[str, None] = {}
        self.services: list[Service] = []
        self.gateways: list[Gateway] = []
        self.mesh_config: MeshConfig | None = None
        self.skipped: Counter[str] = Counter()
        self.diagnostics: list[Diagnostic] = []
        self.texts: dict[str, str] = {}

    def read(self, file: str, data: bytes) -> None:
        """Read the documents of one file."""
        self._problems = Problems()
        ward = is_ward(file, data)
        for document in self._ward(data, file) if ward else documents(data, file, self._problems):
            self._document(document)
            if self._problems.full:
                break
        found = self._problems.diagnostics
        if found:
            self.diagnostics.extend(sorted(map(in_ward_words, found) if ward else found, key=_place))
            if (text := text_for_excerpts(data)) is not None:
                self.texts[file] = text

    def undeclared_gateways(self) -> Iterator[Workload]:
        """The workloads of gateways whose pods no document declares: two of one would be one too many to look up."""
        declared = {(workload.namespace, workload.labels.get(GATEWAY_LABEL)) for workload in self.workloads}
        for gateway in self.gateways:
            if gateway.workload is not None and (gateway.namespace, gateway.name) not in declared:
                declared.add((gateway.namespace, gateway.name))
                yield gateway.workload

    def _ward(self, data: bytes, file: str) -> Iterator[Node]:
        from parser.ward import ward_documents  # noqa: PLC0415  # its grammar is paid for by who uses it

        return ward_documents(data, file, self._problems)

    def _document(self, document: Node) -> None:
        for node, api_version, kind in self._objects(document, *kind_of(document)):
            self._object(node, api_version, kind)

    def _objects(
        self, node: Node, api_version: str | None, kind: str | None
    ) -> Iterator[tuple[Node, str | None, str | None]]:
        """The object itself, or what is in it if it is a list of objects."""
        of = None if kind is None or not kind.endswith("List") or not isinstance(node, MappingNode) else kind[:-4]
        if of is None or not isinstance(node, MappingNode) or (of and "items" not in node.entries):
            yield node, api_version, kind
            return
        for item in Decoder(self._problems).items(node.entries.get("items"), "items"):
            own = kind_of(item)
            # In a list of one kind, the items need not say which.
            if own == (None, None) and of:
                own = api_version, of
            yield from self._objects(item, *own)

    def _object(self, node: Node, api_version: str | None, kind: str | None) -> None:
        if is_null(node):
            return
        if not isinstance(node, MappingNode):
            message = f"expected an object with `apiVersion` and `kind`, got {described(node)}"
            self._problems.error("not-an-object", message, node.span)
            return
        config = mesh_config_in(node)
        if config is not None:
            self._mesh_config(config)
            return
        group, _, version = (api_version or "").rpartition("/")
        if kind in _SECURITY_KINDS and group == authorization_policy.GROUP:
            self._security(node, version, kind)
        elif kind is None or api_version is None or not self._surroundings(node, group, kind):
            self._skip(node, api_version, kind)

    def _surroundings(self, node: MappingNode, group: str, kind: str) -> bool:
        """Read what policies are for, and say whether it was of a kind that is read."""
        problems, namespace = self._problems, self._default_namespace
        if workloads.WORKLOAD_KINDS.get(kind) == group:
            workload = workloads.decode_workload(node, kind, problems, default_namespace=namespace)
            self.workloads += () if workload is None else (workload,)
        elif services.SERVICE_KINDS.get(kind) == group:
            service = services.decode_service(node, kind, problems, default_namespace=namespace)
            self.services += () if service is None else (service,)
        elif (kind, group) == (gateways.KIND, gateways.GROUP):
            gateway = gateways.decode_gateway(node, problems, default_namespace=namespace)
            self.gateways += () if gateway is None else (gateway,)
        elif (kind, group) == ("Namespace", ""):
            self.namespaces[read_envelope(node, Decoder(problems), default_namespace=namespace).name] = None
        else:
            return False
        return True

    def _security(self, node: MappingNode, version: str, kind: str) -> None:
        if version not in authorization_policy.VERSIONS:
            known = ", ".join(f"`{authorization_policy.GROUP}/{each}`" for each in authorization_policy.VERSIONS)
            self._problems.error(
                "unsupported-version",
                f"unknown version {quoted(version)} of {kind}",
                node.entries["apiVersion"].span if "apiVersion" in node.entries else node.span,
                help=f"write one of {known}",
            )
            return
        problems, namespace = self._problems, self._default_namespace
        match kind:
            case authorization_policy.KIND:
                policy = authorization_policy.decode_authorization_policy(node, problems, default_namespace=namespace)
                self._policy(policy, self.policies)
            case request_authentication.KIND:
                request = request_authentication.decode_request_authentication(
                    node, problems, default_namespace=namespace
                )
                self._policy(request, self.request_authentications)
            case _:
                peer = peer_authentication.decode_peer_authentication(node, problems, default_namespace=namespace)
                self._policy(peer, self.peer_authentications)

    def _policy(self, policy: P | None, known: dict[str, P]) -> None:
        if policy is None:
            return
        place = policy.spans.get(("metadata", "name"))
        first = known.setdefault(policy.id, policy)
        if first is not policy and place is not None:
            self._problems.error(
                "duplicate-policy",
                f"policy `{policy.id}` is here and at {first.spans[('metadata', 'name')]}",
                place,
                help="rename one of them, or remove it: a cluster keeps only the last",
            )

    def _mesh_config(self, node: Node) -> None:
        config = decode_mesh_config(node, self._problems)
        if config is None:
            return
        if self._mesh_config_at is None:
            self.mesh_config, self._mesh_config_at = config, node.span
        elif config != self.mesh_config:
            message = f"this mesh configuration differs from the one at {self._mesh_config_at}"
            self._problems.error("several-mesh-configs", message, node.span, help="keep one of them")

    def _skip(self, node: MappingNode, api_version: str | None, kind: str | None) -> None:
        """Count what is not used, and say so where it looks like a policy that went wrong."""
        self.skipped[(kind or _NO_KIND)[:_LONGEST_KIND]] += 1
        at = (node.entries.get("kind") or node).span
        group = (api_version or "").rpartition("/")[0]
        ours = group == authorization_policy.GROUP
        if kind is None:
            if ours:
                help_ = "write `kind: AuthorizationPolicy`, if it is one"
                self._problems.error("missing-kind", "`kind` is missing or is not a string", at, help=help_)
            return
        if kind in _SECURITY_KINDS:
            if api_version is None:
                help_ = f"write `apiVersion: {authorization_policy.GROUP}/v1`"
                self._problems.error("missing-version", f"`apiVersion` of this {kind} is missing", at, help=help_)
            elif nearest(group, (authorization_policy.GROUP,), cutoff=_MISSPELT) is not None or "istio" in group:
                help_ = f"did you mean `{authorization_policy.GROUP}/v1`?"
                message = f"{kind} of {quoted(api_version)} is not Istio's, and is skipped"
                self._problems.warning("foreign-kind", message, node.entries["apiVersion"].span, help=help_)
            return
        near = nearest(kind, _SECURITY_KINDS, cutoff=_MISSPELT)
        if near is not None or ours:
            message = f"unknown kind {quoted(kind)} is skipped"
            self._problems.warning(
                "unknown-kind", message, at, help=f"did you mean `{near}`?" if near else "this group has no such kind"
            )


def _place(diagnostic: Diagnostic) -> tuple[int, int, int]:
    # Warnings after errors at the same place.
    return diagnostic.span.line, diagnostic.span.column, diagnostic.severity is Severity.WARNING
