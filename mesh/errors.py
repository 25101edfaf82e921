"""What can go wrong between the documents of a mesh and a snapshot of it."""

from collections.abc import Mapping

from parser.diagnostics import Diagnostic, Severity

__all__ = ["BudgetError", "InvalidManifestsError", "PolicyStoreError", "UnknownWorkloadError"]


class PolicyStoreError(Exception):
    """The documents could not be had."""


class BudgetError(PolicyStoreError):
    """The policies say more than a server is to hold: with those before `workload` they have `values`, more than `limit`."""

    def __init__(self, workload: str, *, values: int, limit: int) -> None:
        super().__init__(
            f"too many policies: with those before {workload} there are {values:,} values to compile, each counted for every "
            f"set of workloads that it applies to, and the limit is {limit:,}; if they are meant, raise it with --budget"
        )
        self.workload = workload
        self.values = values
        self.limit = limit


class InvalidManifestsError(PolicyStoreError):
    """The documents were read and hold errors: `diagnostics` has all of them, and the warnings, too.

    `sources` maps the name of each file that a diagnostic points into to its text, for excerpts. `revision` names what
    was refused.
    """

    def __init__(self, diagnostics: tuple[Diagnostic, ...], sources: Mapping[str, str], *, revision: str) -> None:
        errors = sum(diagnostic.severity is Severity.ERROR for diagnostic in diagnostics)
        super().__init__(f"{errors} error{'' if errors == 1 else 's'} in the manifests")
        self.diagnostics = diagnostics
        self.sources = sources
        self.revision = revision


class UnknownWorkloadError(LookupError):
    """A request is for a workload that the snapshot does not know, or cannot tell from another."""
