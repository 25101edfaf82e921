"""Files of a small mesh that change again and again, and all that can be told of what comes of them."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol

from hypothesis import strategies as st

from authz.attributes import Attributes
from authz.attributes import Protocol as Over
from authz.workload import ServiceRef
from mesh.directory import Loaded
from mesh.errors import InvalidManifestsError, PolicyStoreError, UnknownWorkloadError
from mesh.snapshot import Guard, Snapshot

API = "security.istio.io/v1"


def _policy(name: str, spec: str, *, kind: str = "AuthorizationPolicy", metadata: str = "") -> str:
    namespace, _, own = name.partition("/")
    return f"apiVersion: {API}\nkind: {kind}\nmetadata: {{name: {own}, namespace: {namespace}{metadata}}}\nspec: {{{spec}}}\n"


def _pod(name: str, labels: str, *, account: str = "api", ip: str = "10.0.0.9") -> str:
    namespace, _, own = name.partition("/")
    return (
        f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {own}, namespace: {namespace}, labels: {{{labels}}}}}\n"
        f"spec: {{serviceAccountName: {account}, containers: []}}\nstatus: {{podIP: {ip}}}\n"
    )


def _mesh(text: str) -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio}}\ndata: {{mesh: '{text}'}}\n"


MESH_CONFIGS = (
    "{trustDomain: td.example}",
    "{rootNamespace: shop}",
    "{trustDomain: td.example, trustDomainAliases: [cluster.local]}",
    "{extensionProviders: [{name: opa, envoyExtAuthzGrpc: {service: opa.ops.svc.cluster.local, port: 9000}}]}",
)
_GET = "rules: [{to: [{operation: {methods: [GET]}}]}]"
_POST = "rules: [{to: [{operation: {methods: [POST]}}]}]"
_WEB = "rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}]"
_FOR_API = "selector: {matchLabels: {app: api}}"
_TO_WAYPOINT = "targetRefs: [{kind: Service, group: '', name: api}]"
DOCUMENTS = (
    _policy("shop/one", _GET),
    _policy("shop/one", _POST),
    _policy("shop/one", f"{_FOR_API}, {_WEB}"),
    _policy("shop/two", f"{_FOR_API}, action: DENY, {_POST}"),
    _policy("shop/two", f"{_TO_WAYPOINT}, {_GET}"),
    _policy("shop/tokens", "rules: [{from: [{source: {requestPrincipals: ['*']}}]}]"),
    _policy("shop/trial", f"action: DENY, {_GET}", metadata=", annotations: {istio.io/dry-run: 'true'}"),
    _policy("shop/ask", f"action: CUSTOM, provider: {{name: opa}}, {_GET}"),
    _policy("shop/nobody", f"selector: {{matchLabels: {{app: apj}}}}, {_GET}"),
    _policy("ops/one", _POST),
    _policy("ops/way", f"{_TO_WAYPOINT}, {_GET}"),
    _policy("ops/way", f"{_TO_WAYPOINT}, {_POST}"),
    _policy("shop/gateway", f"targetRefs: [{{kind: Gateway, group: gateway.networking.k8s.io, name: wey}}], {_GET}"),
    _policy("istio-system/all", f"action: DENY, {_POST}"),
    _policy("istio-system/all", f"action: AUDIT, {_GET}"),
    _policy("istio-system/api", f"{_FOR_API}, {_WEB}"),
    _policy("shop/wrong", "rulez: []"),
    _policy("shop/far", "rules: [{from: [{source: {namespaces: [shpo]}}]}]"),
    _policy("shop/jwt", "jwtRules: [{issuer: a, jwksUri: 'https://a.example/keys'}]", kind="RequestAuthentication"),
    _policy("istio-system/jwt", "jwtRules: [{issuer: b, jwks: '{\"keys\": []}'}]", kind="RequestAuthentication"),
    _policy("shop/strict", "mtls: {mode: STRICT}", kind="PeerAuthentication"),
    _policy("shop/api", f"{_FOR_API}, portLevelMtls: {{'8080': {{mode: DISABLE}}}}", kind="PeerAuthentication"),
    _policy("istio-system/mesh", "mtls: {mode: STRICT}", kind="PeerAuthentication"),
    _pod("shop/api", "app: api"),
    _pod("shop/api", "app: db"),
    _pod("shop/api2", "app: api, version: '2'", ip="10.0.0.8"),
    _pod("shop/db", "app: db", account="db", ip="10.0.0.7"),
    _pod("ops/job", "app: api", account="job", ip="10.0.0.6"),
    """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: way, namespace: shop}
spec: {gatewayClassName: istio-waypoint}
""",
    """
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {selector: {app: api}, ports: [{name: tcp}]}
""",
    "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n",
    "apiVersion: v1\nkind: Namespace\nmetadata: {name: ops}\n",
    "apiVersion: v1\nkind: Event\n",
    "{ broken\n",
    "# nothing\n",
    *map(_mesh, MESH_CONFIGS),
)
NAMES = ("a.yaml", "b.yaml", "d/c.yaml", "d/e.yaml", "w.yaml", "notes.txt")
FIRST = {
    "a.yaml": DOCUMENTS[0],
    "d/c.yaml": DOCUMENTS[9],
    "w.yaml": "---\n".join((_pod("shop/api", "app: api"), DOCUMENTS[23])),
}

texts = st.lists(st.sampled_from(DOCUMENTS), min_size=1, max_size=3).map("---\n".join)
names = st.sampled_from(NAMES)


class Edit(Protocol):
    """A change of files. It answers with the paths that the system tells of, and does nothing where it cannot be done."""

    def __call__(self, directory: Path) -> Sequence[Path]: ...


@dataclass(frozen=True)
class Write:
    name: str
    text: str

    def __call__(self, directory: Path) -> Sequence[Path]:
        path = directory / self.name
        if path.is_symlink() and not path.exists():
            return ()
        told = [path] if path.parent.exists() else [path.parent]
        path.parent.mkdir(exist_ok=True)
        path.write_text(self.text)
        return told


@dataclass(frozen=True)
class Replace:
    name: str
    text: str
    beside: str

    def __call__(self, directory: Path) -> Sequence[Path]:
        path, beside = directory / self.name, directory / self.beside
        if not path.parent.exists():
            return ()
        beside.write_text(self.text)
        beside.replace(path)
        return path, beside


@dataclass(frozen=True)
class Comment:
    name: str

    def __call__(self, directory: Path) -> Sequence[Path]:
        path = directory / self.name
        if not path.exists():
            return ()
        path.write_bytes(b"# moved\n" + path.read_bytes())
        return (path,)


@dataclass(frozen=True)
class Say:
    """The same policies say something else, in a file of the same size."""

    name: str

    def __call__(self, directory: Path) -> Sequence[Path]:
        path = directory / self.name
        if not path.exists():
            return ()
        text = path.read_text()
        path.write_text(text.replace("[GET]", "[PUT]") if "[GET]" in text else text.replace("[PUT]", "[GET]"))
        return (path,)


@dataclass(frozen=True)
class Delete:
    name: str

    def __call__(self, directory: Path) -> Sequence[Path]:
        path = directory / self.name
        if not path.is_symlink() and not path.exists():
            return ()
        path.unlink()
        return (path,)


@dataclass(frozen=True)
class Rename:
    name: str
    to: str

    def __call__(self, directory: Path) -> Sequence[Path]:
        path, to = directory / self.name, directory / self.to
        if not path.exists() or not to.parent.exists() or path.is_dir() != to.is_dir():
            return ()
        path.rename(to)
        return path, to


@dataclass(frozen=True)
class Swap:
    name: str
    other: str

    def __call__(self, directory: Path) -> Sequence[Path]:
        path, other, beside = directory / self.name, directory / self.other, directory / ".swap"
        if not path.exists() or not other.exists() or path == other:
            return ()
        path.rename(beside)
        other.rename(path)
        beside.rename(other)
        return path, other, beside


@dataclass(frozen=True)
class Link:
    name: str
    to: str

    def __call__(self, directory: Path) -> Sequence[Path]:
        path = directory / self.name
        if not path.parent.exists() or path.exists() or path.is_symlink():
            return ()
        path.symlink_to(directory / self.to)
        return (path,)


@dataclass(frozen=True)
class MoveDirectory:
    name: str
    to: str

    def __call__(self, directory: Path) -> Sequence[Path]:
        path, to = directory / self.name, directory / self.to
        if not path.exists() or to.exists():
            return ()
        path.rename(to)
        return path, to


edits: st.SearchStrategy[Edit] = st.one_of(
    st.builds(Write, st.just("../mesh.yaml"), st.sampled_from(MESH_CONFIGS)),
    st.builds(Write, names, texts),
    st.builds(Replace, names, texts, st.sampled_from(("beside.tmp", ".beside"))),
    st.builds(Write, names, st.sampled_from(("", "# nothing\n"))),
    st.builds(Comment, names),
    st.builds(Say, names),
    st.builds(Say, names),
    st.builds(Delete, names),
    st.builds(Rename, names, names),
    st.builds(Swap, names, names),
    st.builds(Link, names, names),
    st.sampled_from((MoveDirectory("d", "f"), MoveDirectory("f", "d"), MoveDirectory("d", ".hidden"))),
)


def outcome(loaded: Loaded | PolicyStoreError) -> object:
    """All that can be told of a mesh that was loaded, or of why it was not."""
    match loaded:
        case Loaded(snapshot=snapshot):
            return list(_facts(snapshot)), loaded.warnings, loaded.sources, loaded.skipped, loaded.files
        case InvalidManifestsError():
            return str(loaded), loaded.diagnostics, loaded.sources, loaded.revision
        case _:
            return str(loaded)


_QUESTIONS = [
    Attributes(
        protocol=protocol,
        identities=identities,
        source_ip=ip_address("10.1.2.3"),
        destination_port=8080,
        method=method,
        path="/items",
        host="api.shop",
    )
    for protocol in Over
    for identities in ((), ("spiffe://cluster.local/ns/shop/sa/web",), ("spiffe://td.example/ns/shop/sa/web",))
    for method in ("GET", "POST")
]


def _facts(snapshot: Snapshot) -> Iterator[object]:
    yield snapshot.revision, snapshot.config, [each.span for each in snapshot.config.extension_providers]
    yield [(policy, dict(policy.spans)) for policy in snapshot.policies]
    yield [(policy, dict(policy.spans)) for policy in snapshot.request_authentications]
    yield [(policy, dict(policy.spans)) for policy in snapshot.peer_authentications]
    yield snapshot.warnings()
    for workload in snapshot.workloads:
        yield workload, workload.span, list(_guard_facts(snapshot.guard(workload)))
        for service in (ServiceRef(namespace="shop", name="api"), ServiceRef(namespace="ops", name="api")):
            yield list(_guard_facts(snapshot.guard(workload, service)))
        yield _found(snapshot, workload.id, None, None)
        for address in (None, *workload.addresses):
            principal = f"spiffe://cluster.local/ns/{workload.namespace}/sa/{workload.service_account}"
            yield _found(snapshot, None, principal, address)


def _guard_facts(guard: Guard) -> Iterator[object]:
    yield guard.jwt_rules, dict(guard.authorizers.asked), guard.authorizers.silent, guard.modes, guard.looks_at_tokens
    for question in _QUESTIONS:
        yield guard.tree.decide(question), guard.tree.triggered(question)


def _found(snapshot: Snapshot, workload: str | None, principal: str | None, address: str | None) -> object:
    try:
        return snapshot.find(workload=workload, principal=principal, address=address).id
    except UnknownWorkloadError as error:
        return str(error)


def stamp(paths: Sequence[Path], moment: int) -> None:
    """Give what is at `paths` a time of its own, as a clock does that is fine enough."""
    for path in paths:
        if path.is_file():
            os.utime(path, ns=(moment, moment))
