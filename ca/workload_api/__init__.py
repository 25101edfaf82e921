"""The SPIFFE Workload API: workloads of this machine get their identities over a Unix socket, without any secret of their own."""

from ca.workload_api.server import workload_api_server

__all__ = ["workload_api_server"]
