"""What ships: the packages that were decided on, the policies, and nothing else."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = {"identity", "authz", "parser", "authn", "ca", "mesh", "extauthz", "demo", "cli"}


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    directory = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)  # noqa: S603  # ours
    (wheel,) = directory.glob("*.whl")
    return zipfile.ZipFile(wheel).namelist()


def test_the_wheel_holds_the_packages_and_the_policies_and_nothing_else(names: list[str]) -> None:
    top = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert top == PACKAGES | {"policies"}


def test_the_pages_that_are_filled_in_are_in_the_wheel(names: list[str]) -> None:
    assert {str(page.relative_to(ROOT)) for page in (ROOT / "cli/reports/pages").iterdir()} <= set(names)


def test_every_package_in_the_wheel_is_typed(names: list[str]) -> None:
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)


def test_the_lock_names_no_index_and_has_a_hash_for_every_package() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert not [line for line in lines if "://" in line or line.startswith(("-i", "--index", "--extra", "--find"))]
    requirements = [line for line in lines if not line.startswith(" ")]
    assert all(line.endswith("\\") and "==" in line for line in requirements)


def test_every_direct_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    beside = extras.pop("bench")
    wanted = [*project["dependencies"], *(name for extra in extras.values() for name in extra)]
    assert _names(wanted) <= _locked("requirements.lock")
    assert _names(beside) <= _locked("benchmarks/requirements.lock")


def test_benchmarks_measure_what_is_shipped() -> None:
    shipped, beside = (_pinned(lock) for lock in ("requirements.lock", "benchmarks/requirements.lock"))
    assert shipped <= beside


def _names(requirements: list[str]) -> set[str]:
    return {requirement.split(">")[0].split("=")[0].split("[")[0].lower() for requirement in requirements}


def _locked(lock: str) -> set[str]:
    return {pin.split("==")[0] for pin in _pinned(lock)}


def _pinned(lock: str) -> set[str]:
    return {line.split()[0] for line in (ROOT / lock).read_text().splitlines() if "==" in line}
