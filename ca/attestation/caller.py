"""Caller: who asks, as an attestor found."""

from dataclasses import dataclass
from enum import Enum

from ca.selector import Selector
from identity import SpiffeId

__all__ = ["Attestor", "Caller"]


class Attestor(Enum):
    """How it was found. The values are in the audit log, and kinds of selectors."""

    ADMIN = "admin"
    AUTHORITY = "authority"
    """This process itself, for the certificate that its own servers show."""
    CURRENT_SVID = "x509-svid"
    JOIN_TOKEN = "join-token"  # noqa: S105  # a name
    KUBERNETES = "k8s"
    UNIX = "unix"


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever asks for an identity, or for something to be done.

    `selectors` are what is known of it; `spiffe_id` is who it is already, if it showed that. `name` is for logs and limits, and
    is the same whenever the same caller comes. `entry` is what it got the SVID by that it shows. `instance` tells it from others
    of its name, such as the pods of a service account, where that is known.
    """

    attestor: Attestor
    name: str
    selectors: frozenset[Selector] = frozenset()
    spiffe_id: SpiffeId | None = None
    entry: str | None = None
    instance: str = ""
