"""Secrecy: the headers that carry secrets, and what stands for their values wherever a request is shown or written down."""

__all__ = ["MASK", "SECRET_HEADERS"]

SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key", "x-forwarded-client-cert"})
"""What a policy compares may still be a secret; that it was there is all that is said of it."""

MASK = "***"
"""Stands for a secret."""
