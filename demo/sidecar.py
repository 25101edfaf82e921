"""What a sidecar is told: Envoy bootstraps as plain data, shaped as Istio shapes them, with meshward where RBAC would be.

Pure functions from names, addresses and files to listeners, clusters and the bootstrap around them. Every listener binds
a port that the system chooses. `docs/envoy.md` says what each option of the two ext_authz filters is for.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from authz.mesh_config import PathNormalization
from demo.tls import TlsFiles, TlsSecrets, TlsSource
from demo.wire import Endpoint
from identity import SpiffeId, TrustDomain

__all__ = [
    "AUTHORIZER",
    "SECRETS",
    "Destination",
    "HttpVersion",
    "InboundPort",
    "Json",
    "application",
    "authorizer",
    "bootstrap",
    "inbound_http",
    "inbound_tcp",
    "outbound_http",
    "outbound_tcp",
    "peer",
    "secrets",
]

Json = dict[str, object]

AUTHORIZER = "meshward"
"""The cluster that the ext_authz filters ask."""

SECRETS = "secrets"
"""The cluster that certificates are asked of."""

_HTTP_EXT_AUTHZ = "envoy.filters.http.ext_authz"
_NETWORK_EXT_AUTHZ = "envoy.filters.network.ext_authz"
_LABELS = "meshward"
_TIMEOUT = "1s"
_EARLY_BYTES = 65536


class HttpVersion(Enum):
    """What is spoken to a cluster. gRPC needs HTTP/2."""

    HTTP_1 = "http_protocol_options"
    HTTP_2 = "http2_protocol_options"


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundPort:
    """A listener that takes mTLS and plaintext on one port, as Istio's PERMISSIVE does, for the application in `cluster`.

    A client certificate must name a member of `trust_domain`. `access_log` gets an entry a request, or a connection.
    """

    name: str
    tls: TlsSource
    trust_domain: TrustDomain
    cluster: str
    access_log: Path


class Destination(NamedTuple):
    """An inbound port as its clients know it: where it is, who answers there, and the server name to ask for."""

    endpoint: Endpoint
    spiffe_id: SpiffeId
    sni: str


def bootstrap(workload: str, *, listeners: Iterable[Json], clusters: Iterable[Json]) -> Json:
    """The whole of one sidecar's configuration; `workload` is `namespace/name`."""
    return {
        "node": {
            "id": workload,
            "cluster": workload,
            # A network ext_authz filter has no context_extensions; it can send these as labels of the destination.
            "metadata": {_LABELS: {"workload": workload}},
        },
        "layered_runtime": {
            "layers": [
                {
                    "name": "istio",
                    # As Istio's bootstrap: the fragment is cut off instead of the request refused.
                    "static_layer": {"envoy.reloadable_features.http_reject_path_with_fragment": False},
                },
            ],
        },
        "static_resources": {"listeners": list(listeners), "clusters": list(clusters)},
    }


# Listeners


def inbound_http(
    port: InboundPort,
    *,
    workload: str,
    path_normalization: PathNormalization = PathNormalization.BASE,
) -> Json:
    """Every request, by mTLS or plaintext, is one for `workload`, and meshward is asked about it."""
    connection_manager = _connection_manager(
        port.name,
        _routes(port.name, port.cluster, {_HTTP_EXT_AUTHZ: _workload_of_route(workload)}),
        filters=[_http_ext_authz()],
        path_normalization=path_normalization,
        access_logs=[_access_log(port.access_log, _HTTP_ENTRY)],
    )
    return _inbound(port, [connection_manager])


def inbound_tcp(port: InboundPort) -> Json:
    """Meshward is asked about every connection, by mTLS or plaintext, once its first bytes are here."""
    proxy = _tcp_proxy(
        port.name,
        port.cluster,
        access_log=[_access_log(port.access_log, _TCP_ENTRY)],
        # Otherwise the application is connected at once, and what it says first reaches clients that are then denied.
        upstream_connect_mode="ON_DOWNSTREAM_DATA",
        max_early_data_bytes=_EARLY_BYTES,
    )
    return _inbound(port, [_network_ext_authz(port.name), proxy])


def outbound_http(name: str, *, cluster: str) -> Json:
    """Where a workload's own HTTP requests leave through its sidecar."""
    return _listener(name, [{"filters": [_connection_manager(name, _routes(name, cluster))]}])


def outbound_tcp(name: str, *, cluster: str) -> Json:
    """Where a workload's own TCP connections leave through its sidecar."""
    return _listener(name, [{"filters": [_tcp_proxy(name, cluster)]}])


# Clusters


def authorizer(socket: Path) -> Json:
    """Meshward's server, on a Unix socket."""
    return _cluster(AUTHORIZER, {"pipe": {"path": str(socket)}}, version=HttpVersion.HTTP_2)


def secrets(socket: Path) -> Json:
    """The authority's secret discovery service, on a Unix socket."""
    return _cluster(SECRETS, {"pipe": {"path": str(socket)}}, version=HttpVersion.HTTP_2)


def application(name: str, endpoint: Endpoint, *, version: HttpVersion = HttpVersion.HTTP_1) -> Json:
    """The application behind an inbound port."""
    return _cluster(name, _address(endpoint), version=version)


def peer(
    name: str,
    destination: Destination,
    *,
    tls: TlsSource,
    version: HttpVersion = HttpVersion.HTTP_1,
) -> Json:
    """Another sidecar's inbound port over mTLS; it must prove to be who it should."""
    context = _typed(
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        sni=destination.sni,
        common_tls_context=_common_tls_context(tls, {"exact": str(destination.spiffe_id)}),
    )
    socket = {"transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": context}}
    return _cluster(name, _address(destination.endpoint), version=version) | socket


# ext_authz


def _http_ext_authz() -> Json:
    return {
        "name": _HTTP_EXT_AUTHZ,
        "typed_config": _typed(
            "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
            transport_api_version="V3",
            grpc_service={"envoy_grpc": {"cluster_name": AUTHORIZER}, "timeout": _TIMEOUT},
            failure_mode_allow=False,
            encode_raw_headers=True,
            include_peer_certificate=True,
            include_tls_session=True,
            emit_filter_state_stats=True,
        ),
    }


def _workload_of_route(workload: str) -> Json:
    return _typed(
        "envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
        check_settings={"context_extensions": {"workload": workload}},
    )


def _network_ext_authz(stat_prefix: str) -> Json:
    return {
        "name": _NETWORK_EXT_AUTHZ,
        "typed_config": _typed(
            "envoy.extensions.filters.network.ext_authz.v3.ExtAuthz",
            stat_prefix=stat_prefix,
            transport_api_version="V3",
            grpc_service={"envoy_grpc": {"cluster_name": AUTHORIZER}, "timeout": _TIMEOUT},
            failure_mode_allow=False,
            include_peer_certificate=True,
            include_tls_session=True,
            bootstrap_metadata_labels_key=_LABELS,
        ),
    }


# The access log

_COMMON_ENTRY: Json = {
    "peer": "%DOWNSTREAM_PEER_URI_SAN%",
    "sni": "%REQUESTED_SERVER_NAME%",
    "filter_chain": "%FILTER_CHAIN_NAME%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "flags": "%RESPONSE_FLAGS%",
    "duration_ms": "%DURATION%",
}
_HTTP_ENTRY: Json = {
    **_COMMON_ENTRY,
    "request_id": "%REQ(X-REQUEST-ID)%",
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(:PATH)%",
    "status": "%RESPONSE_CODE%",
    # What meshward answered besides its verdict: policy, rule, stage, reason, revision.
    "decision": f"%DYNAMIC_METADATA({_HTTP_EXT_AUTHZ})%",
    "check_us": f"%FILTER_STATE({_HTTP_EXT_AUTHZ}:FIELD:latency_us)%",
}
_TCP_ENTRY: Json = {
    **_COMMON_ENTRY,
    "decision": f"%DYNAMIC_METADATA({_NETWORK_EXT_AUTHZ})%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
}


def _access_log(path: Path, entry: Mapping[str, object]) -> Json:
    return {
        "name": "envoy.access_loggers.file",
        "typed_config": _typed(
            "envoy.extensions.access_loggers.file.v3.FileAccessLog",
            path=str(path),
            log_format={"json_format": dict(entry)},
        ),
    }


# Shapes


def _typed(kind: str, **fields: object) -> Json:
    return {"@type": f"type.googleapis.com/{kind}", **fields}


def _address(endpoint: Endpoint) -> Json:
    return {"socket_address": {"address": endpoint.host, "port_value": endpoint.port}}


def _cluster(name: str, address: Json, *, version: HttpVersion) -> Json:
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "typed_extension_protocol_options": {options: _typed(options, explicit_http_config={version.value: {}})},
    }


def _listener(name: str, filter_chains: list[Json], **fields: object) -> Json:
    return {
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": filter_chains,
        **fields,
    }


def _inbound(port: InboundPort, filters: list[Json]) -> Json:
    context = _typed(
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        require_client_certificate=True,
        # Clients say nothing here themselves: Envoy offers what it is going to speak.
        common_tls_context={
            **_common_tls_context(port.tls, {"prefix": f"{port.trust_domain.id}/"}),
            "alpn_protocols": ["h2", "http/1.1"],
        },
    )
    inspector = _typed("envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector")
    return _listener(
        port.name,
        [
            {
                "name": "mtls",
                "filter_chain_match": {"transport_protocol": "tls"},
                "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": context},
                "filters": filters,
            },
            {"name": "plaintext", "filter_chain_match": {"transport_protocol": "raw_buffer"}, "filters": filters},
        ],
        listener_filters=[{"name": "envoy.filters.listener.tls_inspector", "typed_config": inspector}],
    )


def _common_tls_context(tls: TlsSource, peer_name: Json) -> Json:
    names = {"match_typed_subject_alt_names": [{"san_type": "URI", "matcher": peer_name}]}
    parameters: Json = {"tls_params": {"tls_minimum_protocol_version": "TLSv1_2"}}
    match tls:
        case TlsFiles():
            certificate = {
                "certificate_chain": {"filename": str(tls.chain)},
                "private_key": {"filename": str(tls.private_key)},
            }
            return parameters | {
                "tls_certificates": [certificate],
                "validation_context": {"trusted_ca": {"filename": str(tls.bundle)}, **names},
            }
        case TlsSecrets():
            return parameters | {
                "tls_certificate_sds_secret_configs": [_secret(tls.certificate)],
                "combined_validation_context": {
                    "default_validation_context": names,
                    "validation_context_sds_secret_config": _secret(tls.bundle),
                },
            }


def _secret(name: str) -> Json:
    service = {"envoy_grpc": {"cluster_name": SECRETS}}
    source = {"api_type": "GRPC", "transport_api_version": "V3", "grpc_services": [service]}
    # A listener is ready when its certificates are there.
    config = {"resource_api_version": "V3", "initial_fetch_timeout": "10s", "api_config_source": source}
    return {"name": name, "sds_config": config}


_NORMALIZATION: Mapping[PathNormalization, Json] = {
    PathNormalization.NONE: {"normalize_path": False, "merge_slashes": False},
    PathNormalization.BASE: {"normalize_path": True, "merge_slashes": False},
    PathNormalization.MERGE_SLASHES: {"normalize_path": True, "merge_slashes": True},
    PathNormalization.DECODE_AND_MERGE_SLASHES: {
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD",
    },
}


def _connection_manager(
    name: str,
    routes: Json,
    *,
    filters: Iterable[Json] = (),
    path_normalization: PathNormalization = PathNormalization.BASE,
    access_logs: Iterable[Json] = (),
) -> Json:
    router = _typed("envoy.extensions.filters.http.router.v3.Router")
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": _typed(
            "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            stat_prefix=name,
            codec_type="AUTO",
            use_remote_address=False,
            generate_request_id=True,
            forward_client_cert_details="APPEND_FORWARD",
            set_current_client_cert_details={"subject": True, "dns": True, "uri": True},
            **_NORMALIZATION[path_normalization],
            access_log=list(access_logs),
            http_filters=[*filters, {"name": "envoy.filters.http.router", "typed_config": router}],
            route_config=routes,
        ),
    }


def _routes(name: str, cluster: str, per_filter_config: Mapping[str, Json] | None = None) -> Json:
    return {
        "name": name,
        "virtual_hosts": [
            {
                "name": name,
                "domains": ["*"],
                "routes": [{"match": {"prefix": "/"}, "route": {"cluster": cluster, "timeout": "15s"}}],
                "typed_per_filter_config": dict(per_filter_config or {}),
            },
        ],
    }


def _tcp_proxy(name: str, cluster: str, **fields: object) -> Json:
    return {
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": _typed(
            "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            stat_prefix=name,
            cluster=cluster,
            **fields,
        ),
    }
