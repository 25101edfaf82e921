"""Settings for every test: machines are shared and slow at times, and that is no fault of the code."""

import os
from secrets import randbelow

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("meshward", suppress_health_check=[HealthCheck.too_slow], print_blob=True, deadline=None)
settings.load_profile("meshward")


def pytest_configure() -> None:
    """Draw the seed of the differential test here, before workers start, so that all of them and the summary know it."""
    os.environ.setdefault("MESHWARD_SEED", str(randbelow(2**32)))


# The longest first: one that began last would keep one worker busy while the others have nothing left.
_LONGEST = ("tests/differential/", "tests/soak/", "tests/integration/test_authority")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest tests first; all others stay in their order."""
    items.sort(key=lambda item: not item.nodeid.startswith(_LONGEST))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(f"MESHWARD_SEED={os.environ['MESHWARD_SEED']} repeats the comparison with Envoy")
