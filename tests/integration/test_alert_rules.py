"""The alerts on an authority, as Prometheus itself reads them."""

import shutil
import subprocess

import pytest

from tests.unit.ca.test_metrics import RULES


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool comes with Debian's package prometheus")
def test_promtool_reads_the_alerts() -> None:
    checked = subprocess.run([*("promtool", "check", "rules"), RULES], capture_output=True, check=False, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
