"""Edits: what may be changed in the lists of a document, by the places of their entries."""

from dataclasses import dataclass

from authz.span import Span

__all__ = ["Addition", "Edit", "Removal"]


@dataclass(frozen=True, slots=True)
class Removal:
    """Take the entry at `span` out of its list."""

    span: Span


@dataclass(frozen=True, slots=True)
class Addition:
    """Put `value` into a list, behind its entry at `span`."""

    span: Span
    value: str


Edit = Removal | Addition
