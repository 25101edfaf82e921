"""Token mode: who verifies tokens. Apart from what does, so that a command line is read without it."""

from enum import Enum

__all__ = ["TokenMode"]


class TokenMode(Enum):
    """Who verifies tokens."""

    VERIFY = "verify"
    TRUST_ENVOY = "trust-envoy"
