"""`meshward format --minimize`: what goes is what changes nothing, and everything else stays to the letter."""

import shutil
from pathlib import Path

import pytest

from cli.main import main

WORDY = Path(__file__).parents[3] / "examples" / "wordy.yaml"


def test_what_changes_nothing_is_named_with_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = Path(shutil.copy(WORDY, tmp_path / "wordy.yaml"))
    assert main(["format", "--minimize", "--check", str(file)]) == 3
    printed = capsys.readouterr().out.splitlines()
    assert printed[:3] == [
        f"{file}:22:5: shop/wordy: rule changes nothing",
        f"{file}:20:31: shop/wordy: value `/reports/daily` changes nothing",
        f"{file}:34:11: shop/wordy: value `audit` changes nothing",
    ]
    assert printed[3].startswith("3 that change nothing can be taken out of 1 file; proved: every request to ")
    assert file.read_bytes() == WORDY.read_bytes()


def test_what_is_written_has_nothing_more_to_go_and_keeps_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = Path(shutil.copy(WORDY, tmp_path / "wordy.yaml"))
    assert main(["format", "--minimize", "--write", str(file)]) == 0
    before, after = WORDY.read_text().splitlines(), file.read_text().splitlines()
    assert [line for line in after if line not in before] == ['        paths: ["/reports/*", "/status"]']
    assert "  # Everything of reports." in after
    capsys.readouterr()
    assert main(["format", "--minimize", "--check", str(file)]) == 0
    assert capsys.readouterr().out.startswith("nothing can go; proved: ")


def test_an_entry_that_shares_its_line_is_left_to_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "dense.yaml"
    file.write_text(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a, namespace: b}\n"
        "spec: {rules: [{to: [{operation: {methods: [GET]}}]}, {to: [{operation: {methods: [GET]}}]}]}\n"
    )
    assert main(["format", "--minimize", "--write", str(file)]) != 0
    assert "is to be taken out by hand" in capsys.readouterr().err
