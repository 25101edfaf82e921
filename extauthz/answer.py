"""What an external authorizer answers, whatever it was asked by."""

from collections.abc import Mapping
from dataclasses import field

from authz.changes import Changes
from authz.decision import Denial
from authz.record import record

__all__ = ["MAX_ANSWER", "Answer", "Authorized", "BadAnswerError", "Refused"]

MAX_ANSWER = 1024 * 1024
"""Bytes of an answer that are read. It is buffered whole, as Envoy does it."""


@record
class Authorized:
    """The request may go on. `response_headers` are added to what the caller gets in the end."""

    changes: Changes = field(default_factory=Changes)
    response_headers: tuple[tuple[str, str], ...] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)

    def then(self, later: "Authorized") -> "Authorized":
        """This, and after it what the next authorizer says."""
        return Authorized(
            changes=self.changes.then(later.changes),
            response_headers=(*self.response_headers, *later.response_headers),
            metadata={**self.metadata, **later.metadata},
        )


@record
class Refused:
    """The request may not, or nobody could be asked; `reason` says which."""

    denial: Denial
    reason: str


Answer = Authorized | Refused


class BadAnswerError(Exception):
    """The authorizer could not be asked, or answered what no authorizer may; `str()` says which."""
