"""`meshward test` on files: what it finds, what it writes, how it ends, and that it starts again when something changes."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cli.command import ExitCode
from cli.main import main
from tests.unit.mesh.testing.suites import HEAD, POLICIES

GOOD = f"{HEAD}\ntests: [{{name: a, to: api, request: GET /items, allow: [web]}}]\n"
BAD = GOOD.replace("allow: [web]", "allow: []")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "policies.yaml").write_text(POLICIES)
    (tmp_path / "good.authz-test.yaml").write_text(GOOD)
    return tmp_path


def test_files_are_found_below_directories_but_not_in_hidden_ones(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (directory / "below").mkdir()
    (directory / "below" / "too.authz-test.yaml").write_text(GOOD.replace("policies.yaml", "../policies.yaml"))
    (directory / ".git").mkdir()
    (directory / ".git" / "not.authz-test.yaml").write_text("broken: [")
    (directory / "other.yaml").write_text("broken: [")
    assert main(["test", str(directory)]) == ExitCode.OK
    assert "6 cases in 2 files" in capsys.readouterr().out


def test_a_file_may_have_any_name_if_it_is_given_by_it(directory: Path) -> None:
    (directory / "named.yaml").write_text(GOOD)
    assert main(["test", str(directory / "named.yaml")]) == ExitCode.OK


def test_one_broken_file_keeps_no_other_from_being_run(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (directory / "broken.authz-test.yaml").write_text(GOOD.replace("to: api", "too: api"))
    (directory / "failing.authz-test.yaml").write_text(BAD)
    assert main(["test", str(directory)]) == ExitCode.INVALID
    printed = capsys.readouterr()
    assert "did you mean `to`?" in printed.err
    assert "failed: 1 of 6 cases in 2 files, 1 file not run" in printed.out


def test_manifests_with_errors_are_said_with_their_places(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (directory / "policies.yaml").write_text(POLICIES.replace("action: DENY", "action: DNY"))
    assert main(["test", str(directory)]) == ExitCode.INVALID
    assert "policies.yaml:19:11: error[unknown-value]" in capsys.readouterr().err


def test_an_openapi_document_that_is_none_is_shown_where_it_is_wrong(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (directory / "api.yaml").write_text("openapi: 3.0.0\npaths: [a]\n")
    (directory / "good.authz-test.yaml").write_text(f"{GOOD}coverage: {{routes: {{openapi: api.yaml}}}}\n")
    assert main(["test", str(directory)]) == ExitCode.INVALID
    assert "    2 | paths: [a]" in capsys.readouterr().err


@pytest.mark.parametrize(("gate", "code"), [("{rules: 33}", ExitCode.OK), ("{rules: 34}", ExitCode.COVERAGE)])
def test_a_gate_of_coverage_has_its_exit_code(directory: Path, gate: str, code: ExitCode) -> None:
    (directory / "good.authz-test.yaml").write_text(f"{GOOD}coverage: {gate}\n")
    assert main(["test", str(directory)]) == code
    # Of some cases only, nobody demands what all of them cover.
    assert main(["test", str(directory), "--filter", "[web]"]) == ExitCode.OK


def test_a_failure_counts_before_what_is_covered_too_little(directory: Path) -> None:
    (directory / "good.authz-test.yaml").write_text(f"{BAD}coverage: {{rules: 100}}\n")
    assert main(["test", str(directory)]) == ExitCode.TESTS


def test_coverage_is_written_where_it_is_wanted(directory: Path) -> None:
    page, data = directory / "pages" / "all", directory / "coverage.json"
    arguments = ["test", str(directory), "--coverage-html", str(page), "--coverage-json", str(data)]
    assert main(arguments) == ExitCode.OK
    assert sorted(path.name for path in page.iterdir()) == ["1-policies.yaml.html", "index.html"]
    assert data.stat().st_size > 100


def test_what_cannot_be_written_is_said(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", str(directory), "--coverage-json", str(directory)]) == ExitCode.USAGE
    assert f"cannot write {directory}: Is a directory" in capsys.readouterr().err


def test_what_is_not_there_cannot_be_watched(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", str(directory / "nowhere"), "--watch"]) == ExitCode.USAGE
    assert "No such file or directory" in capsys.readouterr().err


def test_it_is_run_again_when_a_policy_changes(directory: Path) -> None:
    command = [str(Path(sys.executable).parent / "meshward"), "test", str(directory), "--watch"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:  # noqa: S603  # our own
        assert running.stdout is not None
        deadline = threading.Timer(60, running.kill)
        deadline.start()
        try:
            verdicts = (line.split(":")[0] for line in running.stdout if line.startswith(("ok", "failed")))
            assert next(verdicts) == "ok"
            (directory / "policies.yaml").write_text(POLICIES.replace("methods: [GET]", "methods: [PUT]"))
            assert next(verdicts) == "failed"
            (directory / "good.authz-test.yaml").write_text(BAD)
            assert next(verdicts) == "ok"
        finally:
            deadline.cancel()
            running.kill()
