"""Replacing one large snapshot by another while answers go on in the same process."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mesh.heap import give_back
from mesh.snapshot import Snapshot

__all__ = ["freeze", "let_go", "short_turns"]

# How long a thread goes on while another waits, in seconds. An answer waits several times; Python's own is 5 ms.
_TURN = 0.0001


@contextmanager
def short_turns() -> Iterator[None]:
    """Have a thread that loads give way almost as soon as one that answers is ready to go on."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(_TURN)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


def freeze() -> None:
    """Have the collector leave alone what is there now: what was loaded is no garbage, and ends by itself when it is replaced.

    Looking through the policies of a large mesh stops every answer for half a second.
    """
    gc.collect(1)
    gc.freeze()


def let_go(outdated: list[Snapshot]) -> None:
    """Let go of the one snapshot in a list, part by part: all that it alone holds at once would stop every answer for a while."""
    parts = outdated.pop().parts()
    while parts:
        parts.pop()
    give_back()
