"""Routes: paths with what differs from request to request taken out, so that what is alike is one."""

import re
from functools import lru_cache

__all__ = ["generalised"]

_LONGEST = 200
_ID = re.compile(
    r"[0-9]+"
    r"|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
    r"|[0-9]{4}-[0-9]{2}(?:-[0-9]{2})?"
    r"|(?=[^0-9]*[0-9])[0-9a-fA-F]{8,}"  # a hash, or the number of a commit
    r"|[A-Za-z]{1,8}[-_][0-9]{2,}"  # `order-1234`
    r"|(?=[^0-9]*[0-9])(?=[^A-Za-z]*[A-Za-z])[A-Za-z0-9_\-=~]{16,}"
    r"|[^/@]+@[^/@]+\.[^/@]+"
)


@lru_cache(maxsize=16_384)
def generalised(path: str) -> str:
    """`path` without query and fragment, and with `{id}` for each segment that is a number, a UUID, a hash or the like.

    No segment becomes another number of them. What is very long is cut.
    """
    target = path.partition("?")[0].partition("#")[0]
    route = "/".join(["{id}" if _ID.fullmatch(segment) else segment for segment in target.split("/")])
    return route if len(route) <= _LONGEST else route[: _LONGEST - 1] + "…"
