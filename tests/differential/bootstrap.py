"""What the Envoy under test is told: the native filters of every case, and beside them the filters that ask meshward.

Four listeners: HTTP and TCP, decided by Envoy itself and by meshward. Each takes mTLS and plaintext behind the PROXY
protocol. The source port of a connection says which case it is for, so that each case has filter chains of its own, as a
workload has; to meshward, requests say it in `x-slot`. Policies see neither.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from authz.mesh_config import PathNormalization
from demo.sidecar import Json, authorizer
from demo.tls import TlsFiles
from extauthz.token_mode import TokenMode
from tests.differential.cases import CHANNELS, Mesh
from tests.differential.emitter import Filters

__all__ = ["CASE", "CASE_TLV", "FIRST_PORT", "SLOT", "Places", "Slot", "bootstrap", "metadata_header", "metadata_tlv"]

SLOT = "x-slot"
"""The header that says which case a request is for."""

CASE = "x-case"
"""The header by which a request is found again in the access log."""

CASE_TLV = 0xE0
"""What stands for that header in the PROXY protocol of a connection."""

FIRST_PORT = 1024
"""The source port of connections to slot 0; the others follow."""

_CASE = "case"
_HTTP_RBAC = "envoy.extensions.filters.http.rbac.v3.RBAC"
_NETWORK_RBAC = "envoy.extensions.filters.network.rbac.v3.RBAC"
_JWT = "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"
# The name under which RBAC looks for what the filter has verified.
_JWT_AUTHN = "envoy.filters.http.jwt_authn"
_APPLICATION = "application"
_AUTHORIZER = {"envoy_grpc": {"cluster_name": "meshward"}, "timeout": "30s"}
_CHANNEL_NAMES = list(CHANNELS)
_NORMALIZATION: Mapping[PathNormalization, Json] = {
    PathNormalization.NONE: {},
    PathNormalization.BASE: {"normalize_path": True},
    PathNormalization.MERGE_SLASHES: {"normalize_path": True, "merge_slashes": True},
    PathNormalization.DECODE_AND_MERGE_SLASHES: {
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One case in an Envoy: the workload that meshward is asked about, and the native filters.

    With `jwt`, which is jwt_authn's configuration, requests that are let through go to the application.
    """

    workload: str
    http: Filters
    tcp: Filters
    jwt: Json | None = None


def metadata_header(channel: str) -> str:
    """The header in which an HTTP request carries the metadata of `channel`: a base64 `google.protobuf.Value`."""
    return f"x-metadata-{channel}"


def metadata_tlv(channel: str) -> int:
    """The type under which a TCP connection carries the metadata of `channel`: text."""
    return CASE_TLV + 1 + _CHANNEL_NAMES.index(channel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """What is on this machine: Envoy's own certificate, where meshward and the application listen, and where to log."""

    tls: TlsFiles
    meshward: Path
    application: Path
    access_log: Path


def bootstrap(slots: Sequence[Slot], mesh: Mesh, places: Places, *, tokens: TokenMode = TokenMode.VERIFY) -> Json:
    """All of it; `tokens` says whether Envoy verifies tokens for meshward, too, or meshward itself."""
    tls, access_log = places.tls, places.access_log

    def http(name: str, chains: Iterable[Json]) -> Json:
        return _listener(name, [*chains])

    def tcp(name: str, chains: Iterable[Json]) -> Json:
        # An echo writes no log of its own.
        return _listener(name, [*chains], access_log=[_access_log(access_log, _TCP_ENTRY)])

    def native_http(slot: Slot) -> list[Json]:
        # The prefix keeps what one filter writes down apart from what the others do; Istio sets none.
        filters = {
            stage: _named(f"rbac-{stage}", _HTTP_RBAC, **config, rules_stat_prefix=f"{stage}_")
            for stage, config in _by_stage(slot.http)
        }
        before = [rbac for stage, rbac in filters.items() if stage.startswith("custom")]
        after = [rbac for stage, rbac in filters.items() if not stage.startswith("custom")]
        return [_connection_manager([*before, *_jwt_authn(slot), *after], [_route(slot)], access_log, mesh)]

    def native_tcp(slot: Slot) -> list[Json]:
        filters = [
            _named(f"rbac-{stage}", _NETWORK_RBAC, stat_prefix="tcp.", **config)
            for stage, config in _by_stage(slot.tcp)
        ]
        return [*filters, _echo()]

    asking = [_asking_route(number, slot) for number, slot in enumerate(slots)]

    def asking_http(slot: Slot) -> list[Json]:
        return [_connection_manager([*_jwt_authn(slot), _http_ext_authz()], asking, access_log, mesh)]

    if tokens is TokenMode.TRUST_ENVOY:
        asking_chains = [*_chains(map(asking_http, slots), tls)]
    else:
        asking_chains = _chain([_connection_manager([_http_ext_authz()], asking, access_log, mesh)], tls)
    return {
        "node": {"id": "differential", "cluster": "differential"},
        "layered_runtime": {
            "layers": [
                {
                    "name": "istio",
                    "static_layer": {"envoy.reloadable_features.http_reject_path_with_fragment": False},
                },
            ],
        },
        "static_resources": {
            "listeners": [
                http("native-http", _chains(map(native_http, slots), tls)),
                http("meshward-http", asking_chains),
                tcp("native-tcp", _chains(map(native_tcp, slots), tls)),
                tcp("meshward-tcp", _chain([_network_ext_authz(), _echo()], tls)),
            ],
            "clusters": [authorizer(places.meshward), _application(places.application)],
        },
    }


# Native filters -------------------------------------------------------------------------------------------------------


def _by_stage(filters: Filters) -> Iterable[tuple[str, Json]]:
    for number, custom in enumerate(filters.custom):
        yield f"custom-{number}", custom
    for stage, config in (("audit", filters.audit), ("deny", filters.deny), ("allow", filters.allow)):
        if config is not None:
            yield stage, config


def _jwt_authn(slot: Slot) -> list[Json]:
    return [] if slot.jwt is None else [_named(_JWT_AUTHN, _JWT, **slot.jwt)]


# Asking meshward ------------------------------------------------------------------------------------------------------


def _http_ext_authz() -> Json:
    return _named(
        "ext_authz",
        "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
        transport_api_version="V3",
        grpc_service=_AUTHORIZER,
        encode_raw_headers=True,
        include_peer_certificate=True,
        include_tls_session=True,
        metadata_context_namespaces=[_JWT_AUTHN, *(namespace for namespace, _ in CHANNELS.values())],
    )


def _network_ext_authz() -> Json:
    return _named(
        "ext_authz",
        "envoy.extensions.filters.network.ext_authz.v3.ExtAuthz",
        stat_prefix="ext",
        transport_api_version="V3",
        grpc_service=_AUTHORIZER,
        include_peer_certificate=True,
        include_tls_session=True,
        metadata_context_namespaces=[namespace for namespace, _ in CHANNELS.values()],
    )


# Around them ----------------------------------------------------------------------------------------------------------


def _connection_manager(filters: list[Json], routes: list[Json], access_log: Path, mesh: Mesh) -> Json:
    metadata = _named(
        "metadata",
        "envoy.extensions.filters.http.header_to_metadata.v3.Config",
        request_rules=[
            {
                "header": metadata_header(channel),
                "on_header_present": {
                    "metadata_namespace": namespace,
                    "key": key,
                    "type": "PROTOBUF_VALUE",
                    "encode": "BASE64",
                },
                "remove": True,
            }
            for channel, (namespace, key) in CHANNELS.items()
        ],
    )
    return _named(
        "http",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="http",
        codec_type="AUTO",
        use_remote_address=mesh.trusted_proxies is not None,
        xff_num_trusted_hops=mesh.trusted_proxies or 0,
        # What cannot be read is answered and hung up on, by default a second later.
        delayed_close_timeout="0.02s",
        **_NORMALIZATION[mesh.normalization],
        access_log=[_access_log(access_log, _HTTP_ENTRY)],
        http_filters=[metadata, *filters, _named("router", "envoy.extensions.filters.http.router.v3.Router")],
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
    )


def _route(slot: Slot) -> Json:
    """Where every request goes."""
    if slot.jwt is not None:
        return {"match": {"prefix": ""}, "route": {"cluster": _APPLICATION}}
    return {"match": {"prefix": ""}, "direct_response": {"status": 200, "body": {"inline_string": "ok"}}}


def _asking_route(number: int, slot: Slot) -> Json:
    """Where those go that are for the slot of that number, and whom meshward is asked about."""
    per_route = _typed(
        "envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
        check_settings={"context_extensions": {"workload": slot.workload}},
    )
    return {
        **_route(slot),
        "match": {"prefix": "", "headers": [{"name": SLOT, "string_match": {"exact": str(number)}}]},
        "typed_per_filter_config": {"ext_authz": per_route},
    }


def _application(socket: Path) -> Json:
    endpoint = {"address": {"pipe": {"path": str(socket)}}}
    return {
        "name": _APPLICATION,
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": _APPLICATION,
            "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}],
        },
    }


def _listener(name: str, filter_chains: list[Json], **fields: object) -> Json:
    tlvs = {CASE_TLV: (_CASE, "id")} | {metadata_tlv(channel): place for channel, place in CHANNELS.items()}
    proxy_protocol = _named(
        "proxy_protocol",
        "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol",
        rules=[
            {"tlv_type": kind, "on_tlv_present": {"metadata_namespace": namespace, "key": key}}
            for kind, (namespace, key) in tlvs.items()
        ],
    )
    inspector = _named("tls_inspector", "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector")
    return {
        "name": name,
        "address": {"socket_address": {"address": "::", "ipv4_compat": True, "port_value": 0}},
        "listener_filters": [proxy_protocol, inspector],
        "filter_chains": filter_chains,
        **fields,
    }


def _chains(by_slot: Iterable[list[Json]], tls: TlsFiles) -> Iterable[Json]:
    for number, filters in enumerate(by_slot):
        yield from _chain(filters, tls, source_port=FIRST_PORT + number)


def _chain(filters: list[Json], tls: TlsFiles, *, source_port: int | None = None) -> list[Json]:
    """One chain for mTLS with anybody who has a certificate, and one for plaintext."""
    context = _typed(
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        require_client_certificate=True,
        common_tls_context={
            "tls_certificates": [
                {
                    "certificate_chain": {"filename": str(tls.chain)},
                    "private_key": {"filename": str(tls.private_key)},
                },
            ],
            "validation_context": {"trusted_ca": {"filename": str(tls.bundle)}},
        },
    )
    ports: Json = {} if source_port is None else {"source_ports": [source_port]}
    return [
        {
            "name": f"mtls-{source_port}",
            "filter_chain_match": {"transport_protocol": "tls", **ports},
            "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": context},
            "filters": filters,
        },
        {
            "name": f"plaintext-{source_port}",
            "filter_chain_match": {"transport_protocol": "raw_buffer", **ports},
            "filters": filters,
        },
    ]


def _echo() -> Json:
    return _named("echo", "envoy.extensions.filters.network.echo.v3.Echo")


# What the access log says: all that either side lets be known of its decision.
_HTTP_ENTRY: Json = {
    "case": f"%REQ({CASE})%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "native": "%DYNAMIC_METADATA(envoy.filters.http.rbac)%",
    "audit": "%DYNAMIC_METADATA(envoy.common)%",
    "meshward": "%DYNAMIC_METADATA(envoy.filters.http.ext_authz)%",
}
_TCP_ENTRY: Json = {
    "case": f"%DYNAMIC_METADATA({_CASE}:id)%",
    "details": "%CONNECTION_TERMINATION_DETAILS%",
    "native": "%DYNAMIC_METADATA(envoy.filters.network.rbac)%",
    "audit": "%DYNAMIC_METADATA(envoy.common)%",
    "meshward": "%DYNAMIC_METADATA(envoy.filters.network.ext_authz)%",
}


def _access_log(path: Path, entry: Json) -> Json:
    return _named(
        "file",
        "envoy.extensions.access_loggers.file.v3.FileAccessLog",
        path=str(path),
        log_format={"json_format": entry},
    )


def _typed(kind: str, **fields: object) -> Json:
    return {"@type": f"type.googleapis.com/{kind}", **fields}


def _named(name: str, kind: str, **fields: object) -> Json:
    return {"name": name, "typed_config": _typed(kind, **fields)}
