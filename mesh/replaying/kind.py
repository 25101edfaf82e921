"""Kinds: what a recording is made of, and how a decision may differ from the one in it."""

from enum import Enum

__all__ = ["Change", "Kind"]


class Kind(Enum):
    """What a recording is made of."""

    DECISIONS = "decisions"
    """Our own decision log; request documents without a decision, too."""
    ENVOY = "envoy"
    """Envoy's access log, as JSON lines."""
    CHECK_JSON = "check-json"
    """CheckRequests, as JSON lines."""
    CHECK = "check"
    """CheckRequests in protobuf, each behind its length."""
    HAR = "har"
    """An HTTP archive, as browsers write it."""


class Change(Enum):
    """How a decision differs from that of then, or from the other version's."""

    NEWLY_DENIED = "newly-denied"
    NEWLY_ALLOWED = "newly-allowed"
    UNCERTAIN = "uncertain"
    """It differs, and the policies look at what the record does not tell."""
