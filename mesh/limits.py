"""Limits of what is asked about all requests at once, each refused before work starts.

They are measured: `docs/proof.md` says what was, and what it took.
"""

from collections.abc import Iterable, Sequence

from authz.model import Policy
from mesh.errors import PolicyStoreError

__all__ = [
    "MOST_LINTED_RULES",
    "MOST_MINIMIZED_RULES",
    "MOST_QUESTIONS",
    "MOST_RULES",
    "MOST_TOLD_RULES",
    "TooManyError",
    "refuse_too_many_questions",
    "refuse_too_many_rules",
]

MOST_RULES = 10_000
"""Before one workload, for `prove` and `diff`."""

MOST_TOLD_RULES = 2_000
"""Before one workload, for `show --who-can`, which tells what most of them allow, one after the other."""

MOST_MINIMIZED_RULES = 1_000
"""Before one workload, for `format --minimize`: it asks about each with all others in place."""

MOST_QUESTIONS = 100_000
"""Of `prove`: workloads times invariants."""

MOST_LINTED_RULES = 1_000
"""Of more rules a linter says only what comparing them shows: a proof of each takes longer than anybody waits for one."""


class TooManyError(PolicyStoreError):
    """More is asked about than is answered in time: the figure, the limit, and what to do."""


def refuse_too_many_rules(
    guarded: Iterable[tuple[str, Sequence[Policy]]],
    *,
    most: int,
    remedy: str = "ask about fewer: name some of the files",
) -> None:
    """Refuse workloads that have more rules before them than `most`; each comes with the policies that apply to it.

    Raises:
        TooManyError: One has.
    """
    for workload, policies in guarded:
        rules = sum(len(policy.rules) for policy in policies)
        if rules > most:
            raise TooManyError(
                f"too many rules: {rules:,} stand before {workload}, and no more than {most:,} are answered about; {remedy}"
            )


def refuse_too_many_questions(workloads: int, invariants: int) -> None:
    """Refuse to ask each of so many invariants of each of so many workloads.

    Raises:
        TooManyError: They are more than `MOST_QUESTIONS` together.
    """
    if workloads * invariants > MOST_QUESTIONS:
        raise TooManyError(
            f"too many questions: {invariants:,} invariants of {workloads:,} workloads are {workloads * invariants:,}, and no more "
            f"than {MOST_QUESTIONS:,} are answered; put the invariants in several files, or name fewer manifests"
        )
