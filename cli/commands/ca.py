"""`meshward ca`: the certificate authority."""

from cli.command import Command, Group

__all__ = ["COMMAND"]


def _verbs() -> tuple[Command | Group, ...]:
    from cli.authority.verbs import VERBS  # noqa: PLC0415  # no other verb pays for what these need

    return VERBS


COMMAND = Group("ca", "the certificate authority: init, serve, entries, tokens, rotation, backup", _verbs)
