"""`@record`: the cheap value for the request path.

Building a frozen, slotted dataclass of a dozen fields costs about six times what the same class costs unfrozen. A record
is frozen to the type checkers and cheap to build at run time. What is made at load is a frozen dataclass instead.
"""

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

__all__ = ["record"]

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def record(cls: type[T], /) -> type[T]:
    """Make `cls` a slotted dataclass with keyword-only fields, read-only to the type checkers."""
    return dataclass(slots=True, kw_only=True)(cls)
