"""The real parts, together."""
