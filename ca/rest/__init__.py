"""The authority over HTTP: one application for workloads, another for operators, and a server for each."""

from ca.rest.admin import AdminToken, admin_app
from ca.rest.asking import TokenAttestor
from ca.rest.openid import OpenId
from ca.rest.server import Bounds, serving
from ca.rest.workloads import workloads_app

__all__ = ["AdminToken", "Bounds", "OpenId", "TokenAttestor", "admin_app", "serving", "workloads_app"]
