"""Renewing: when an SVID is to be replaced."""

import random
from datetime import datetime

from identity import X509Svid

__all__ = ["HALF", "renewal_at"]

HALF = 0.5
"""Of its life: whoever renews has as much time again for trying."""
_JITTER = 0.1


def renewal_at(svid: X509Svid, *, at: datetime, after: float = HALF) -> datetime:
    """When `svid`, which was issued at `at`, is to be replaced: after that part of its life, give or take a tenth.

    What was issued together is not to be renewed together.
    """
    life = svid.leaf.not_valid_after_utc - at
    return at + life * (after * random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311  # it only spreads
