"""Limits of what is asked about all requests at once, each refused before work starts.

They are measured: `docs/proof.md` says what was, and what it took.
"""

__all__ = ["MOST_LINTED_RULES"]

MOST_LINTED_RULES = 1_000
"""Of more rules a linter says only what comparing them shows: a proof of each takes longer than anybody waits for one."""
