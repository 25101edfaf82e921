"""Contents: what one file declares by itself, and all that is wrong with that."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from authz.mesh_config import MeshConfig
from authz.model import Policy
from authz.peer_authentication import PeerAuthentication
from authz.request_authentication import RequestAuthentication
from authz.span import Span
from authz.workload import AMBIENT, DATAPLANE_LABEL, Workload
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

__all__ = ["NOTHING", "Besides", "Contents", "Named", "place", "read_contents"]

P = TypeVar("P", Policy, RequestAuthentication, PeerAuthentication)

_SECURITY_KINDS = (authorization_policy.KIND, request_authentication.KIND, peer_authentication.KIND)

_NO_KIND = "no kind"
_MISSPELT = 0.8
_LONGEST_KIND = 63  # Kubernetes allows no more


Named = tuple[tuple[str, P], ...]
"""Policies, each behind its id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Besides:
    """What a file holds besides AuthorizationPolicies, and all that is wrong with it, in the order of places."""

    request_authentications: Named[RequestAuthentication] = ()
    peer_authentications: Named[PeerAuthentication] = ()
    workloads: tuple[Workload, ...] = ()
    namespaces: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()
    services: tuple[Service, ...] = ()
    gateways: tuple[Gateway, ...] = ()
    mesh_configs: tuple[tuple[MeshConfig, Span], ...] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)
    diagnostics: tuple[Diagnostic, ...] = ()


NOTHING = Besides()


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What one file declares, in the order of its documents: a function of its name and its bytes, and of nothing else.

    So it may be kept for as long as they are the same. An id may be there twice. `besides` is `NOTHING`, itself, in most files
    of most meshes. `ward` is whether the file is written in it.
    """

    file: str
    data: bytes = field(repr=False)
    ward: bool
    policies: Named[Policy]
    besides: Besides


def read_contents(file: str, data: bytes, *, default_namespace: str = "default") -> Contents:
    """Read one file. Never raises for what is in it."""
    reader = _Reader(file, default_namespace)
    ward = is_ward(file, data)
    reader.read(data, ward=ward)
    found = reader.problems.diagnostics
    besides = Besides(
        request_authentications=_named(reader.request_authentications),
        peer_authentications=_named(reader.peer_authentications),
        workloads=tuple(reader.workloads),
        namespaces=tuple(filter(None, reader.namespaces)),
        ambient=tuple(reader.ambient),
        services=tuple(reader.services),
        gateways=tuple(reader.gateways),
        mesh_configs=tuple(reader.mesh_configs),
        skipped=dict(reader.skipped),
        diagnostics=tuple(sorted(map(in_ward_words, found) if ward else found, key=place)),
    )
    return Contents(
        file=file,
        data=data,
        ward=ward,
        policies=_named(reader.policies),
        besides=NOTHING if besides == NOTHING else besides,
    )


def _named(policies: Iterable[P]) -> Named[P]:
    return tuple((policy.id, policy) for policy in policies)


def place(diagnostic: Diagnostic) -> tuple[int, int, bool]:
    """Where a diagnostic comes among those of its file: warnings after errors at the same place."""
    return diagnostic.span.line, diagnostic.span.column, diagnostic.severity is Severity.WARNING


class _Reader:
    """Gathers what the documents of one file hold."""

    def __init__(self, file: str, default_namespace: str) -> None:
        self._file = file
        self._default_namespace = default_namespace
        self.problems = Problems()
        self.policies: list[Policy] = []
        self.request_authentications: list[RequestAuthentication] = []
        self.peer_authentications: list[PeerAuthentication] = []
        self.workloads: list[Workload] = []
        self.namespaces: list[str] = []
        self.ambient: list[str] = []
        self.services: list[Service] = []
        self.gateways: list[Gateway] = []
        self.mesh_configs: list[tuple[MeshConfig, Span]] = []
        self.skipped: Counter[str] = Counter()

    def read(self, data: bytes, *, ward: bool) -> None:
        """Read the documents in `data`."""
        for document in self._ward(data) if ward else documents(data, self._file, self.problems):
            self._document(document)
            if self.problems.full:
                break

    def _ward(self, data: bytes) -> Iterator[Node]:
        from parser.ward import ward_documents  # noqa: PLC0415  # its grammar is paid for by who uses it

        return ward_documents(data, self._file, self.problems)

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
        for item in Decoder(self.problems).items(node.entries.get("items"), "items"):
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
            self.problems.error("not-an-object", message, node.span)
            return
        written = mesh_config_in(node)
        if written is not None:
            config = decode_mesh_config(written, self.problems)
            self.mesh_configs += () if config is None else ((config, written.span),)
            return
        group, _, version = (api_version or "").rpartition("/")
        if kind in _SECURITY_KINDS and group == authorization_policy.GROUP:
            self._security(node, version, kind)
        elif kind is None or api_version is None or not self._surroundings(node, group, kind):
            self._skip(node, api_version, kind)

    def _surroundings(self, node: MappingNode, group: str, kind: str) -> bool:
        """Read what policies are for, and say whether it was of a kind that is read."""
        problems, namespace = self.problems, self._default_namespace
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
            envelope = read_envelope(node, Decoder(problems), default_namespace=namespace)
            self.namespaces.append(envelope.name)
            self.ambient += [envelope.name] if envelope.labels.get(DATAPLANE_LABEL) == AMBIENT else []
        else:
            return False
        return True

    def _security(self, node: MappingNode, version: str, kind: str) -> None:
        if version not in authorization_policy.VERSIONS:
            known = ", ".join(f"`{authorization_policy.GROUP}/{each}`" for each in authorization_policy.VERSIONS)
            self.problems.error(
                "unsupported-version",
                f"unknown version {quoted(version)} of {kind}",
                node.entries["apiVersion"].span if "apiVersion" in node.entries else node.span,
                help=f"write one of {known}",
            )
            return
        problems, namespace = self.problems, self._default_namespace
        match kind:
            case authorization_policy.KIND:
                policy = authorization_policy.decode_authorization_policy(node, problems, default_namespace=namespace)
                self.policies += () if policy is None else (policy,)
            case request_authentication.KIND:
                request = request_authentication.decode_request_authentication(
                    node, problems, default_namespace=namespace
                )
                self.request_authentications += () if request is None else (request,)
            case _:
                peer = peer_authentication.decode_peer_authentication(node, problems, default_namespace=namespace)
                self.peer_authentications += () if peer is None else (peer,)

    def _skip(self, node: MappingNode, api_version: str | None, kind: str | None) -> None:
        """Count what is not used, and say so where it looks like a policy that went wrong."""
        self.skipped[(kind or _NO_KIND)[:_LONGEST_KIND]] += 1
        at = (node.entries.get("kind") or node).span
        group = (api_version or "").rpartition("/")[0]
        ours = group == authorization_policy.GROUP
        if kind is None:
            if ours:
                help_ = "write `kind: AuthorizationPolicy`, if it is one"
                self.problems.error("missing-kind", "`kind` is missing or is not a string", at, help=help_)
            return
        if kind in _SECURITY_KINDS:
            if api_version is None:
                help_ = f"write `apiVersion: {authorization_policy.GROUP}/v1`"
                self.problems.error("missing-version", f"`apiVersion` of this {kind} is missing", at, help=help_)
            elif nearest(group, (authorization_policy.GROUP,), cutoff=_MISSPELT) is not None or "istio" in group:
                help_ = f"did you mean `{authorization_policy.GROUP}/v1`?"
                message = f"{kind} of {quoted(api_version)} is not Istio's, and is skipped"
                self.problems.warning("foreign-kind", message, node.entries["apiVersion"].span, help=help_)
            return
        near = nearest(kind, _SECURITY_KINDS, cutoff=_MISSPELT)
        if near is not None or ours:
            message = f"unknown kind {quoted(kind)} is skipped"
            self.problems.warning(
                "unknown-kind", message, at, help=f"did you mean `{near}`?" if near else "this group has no such kind"
            )
