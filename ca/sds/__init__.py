"""SDS: Envoys get their certificates and their roots by streams, and new ones without a restart."""

from ca.sds.server import sds_server

__all__ = ["sds_server"]
