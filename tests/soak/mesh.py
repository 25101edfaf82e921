"""The policies of the soak: a number in the name of each says which change they are of, and so what is right."""

from pathlib import Path

from tests.integration.serving import policy, workload
from tests.integration.test_tokens import MANIFESTS

METHODS = ("GET", "PUT", "POST")
BAD_EVERY = 5

_STATIC = {
    # With tokens; these policies are of no change.
    **MANIFESTS,
    "db.yaml": workload("db") + policy("db", "ALLOW", "rules: [{to: [{operation: {ports: ['8080']}}]}]", app="db"),
    "shop.yaml": workload("changing"),
}


def write(directory: Path) -> None:
    """What does not change."""
    for name, text in _STATIC.items():
        (directory / name).write_text(text)


def is_good(change: int) -> bool:
    """Whether a change is one to be taken up."""
    return change % BAD_EVERY != BAD_EVERY - 1


def is_allowed(change: int, method: str) -> bool:
    """What is right after a change."""
    return METHODS[change % len(METHODS)] == method


def apply(directory: Path, change: int) -> None:
    """Make a change: one method is allowed, all others are denied, and each is told by a policy of that number."""
    allowed = METHODS[change % len(METHODS)]
    others = ", ".join(method for method in METHODS if method != allowed)
    text = "".join(
        policy(
            f"{action.lower()}-{change}",
            action,
            f"rules: [{{to: [{{operation: {{methods: [{methods}]}}}}]}}]",
            app="changing",
        )
        for action, methods in (("ALLOW", allowed), ("DENY", others))
    )
    beside = directory.parent / "changing"
    beside.write_text(text if is_good(change) else text.replace("methods", "method"))
    beside.replace(directory / "changing.yaml")
