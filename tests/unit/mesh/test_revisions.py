"""Manifests of a Git repository, read by Git itself."""

import os
import subprocess
from pathlib import Path

import pytest

from mesh.revisions import RevisionError, files_at
from mesh.versions import load_version, named_versions

POLICY = """\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: NAME, namespace: shop}
spec: {}
"""


def git(root: Path, *arguments: str) -> None:
    command = ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603  # our own arguments


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A first commit, tagged, a second one, and a working tree that is neither."""
    root = tmp_path_factory.mktemp("repository")
    files = (
        "policies/a.yaml",
        "policies/deep/b.yaml",
        "policies/.hidden/c.yaml",
        "policies/t.authz-test.yaml",
        "other.yaml",
    )
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(POLICY.replace("NAME", Path(name).stem.replace(".", "-")))
    (root / "policies/notes.md").write_text("# no policy\n")
    (root / ".gitattributes").write_text("policies/a.yaml export-ignore\n")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "x")
    git(root, "tag", "v1")
    (root / "policies/deep/b.yaml").unlink()
    (root / "policies/link.yaml").symlink_to("a.yaml")
    git(root, "add", ".")
    git(root, "commit", "-qm", "y")
    git(root, "tag", "linked")
    (root / "policies/a.yaml").write_text(POLICY.replace("NAME", "working-tree"))
    return root


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("policies", ["policies/a.yaml", "policies/deep/b.yaml"]),
        ("policies/**/*.yaml", ["policies/a.yaml", "policies/deep/b.yaml"]),
        ("policies/*.yaml", ["policies/a.yaml"]),
        ("policies/dee?", ["policies/deep/b.yaml"]),
        ("policies/../other.yaml", ["other.yaml"]),
        ("policies/.hidden", ["policies/.hidden/c.yaml"]),
        (".", ["other.yaml", "policies/a.yaml", "policies/deep/b.yaml"]),
    ],
)
def test_a_pattern_leads_to_what_it_would_in_the_working_tree(root: Path, pattern: str, expected: list[str]) -> None:
    # Nor does it matter that an archive of it would leave one out.
    found = files_at("v1", [pattern], directory=root)
    assert [file.name for file in found] == [f"git:v1:{name}" for name in expected]
    assert b"working-tree" not in b"".join(file.data for file in found)


@pytest.mark.parametrize(
    ("revision", "pattern", "message"),
    [
        ("v2", "policies", "no revision `v2`"),
        ("", "policies", "no revision ``"),
        ("--output=x", "policies", "no revision `--output=x`"),
        ("v1\nx", "policies", "no revision"),
        ("v1\0", "policies", "null byte"),
        ("v1", "nothing", "no manifests for `nothing` in git:v1"),
        ("v1", "../x", "in no Git repository"),
        ("v1", "/etc", "in no Git repository"),
        ("linked", "policies", "`policies/link.yaml` is a link"),
    ],
)
def test_what_is_not_there_is_said(root: Path, revision: str, pattern: str, message: str) -> None:
    with pytest.raises(RevisionError, match=message):
        files_at(revision, [pattern], directory=root)


def test_a_revision_with_a_similar_name_is_offered(root: Path) -> None:
    with pytest.raises(RevisionError) as caught:
        files_at("linkd", ["policies"], directory=root)
    assert caught.value.help == "did you mean `linked`?"


def test_without_git_it_is_said(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(RevisionError, match="no `git` can be run"):
        files_at("v1", ["policies"], directory=root)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("a", "b", ("a", "b")),
        ("git:v1", "policies", ("git:v1:policies", "policies")),
        ("git:v1", "git:v2:policies", ("git:v1:policies", "git:v2:policies")),
        ("git:v1:old", "git:v2", ("git:v1:old", "git:v2:old")),
        ("git:v1", "git:v2", ("git:v1", "git:v2")),
        ("git:v1", None, ("git:v1", ".")),
    ],
)
def test_a_revision_without_a_path_is_of_the_others(old: str, new: str | None, expected: tuple[str, str]) -> None:
    assert tuple(map(str, named_versions(old, new))) == expected


@pytest.mark.parametrize(("old", "new"), [("a", None), ("git:v1", "-")])
def test_two_versions_are_needed(old: str, new: str | None) -> None:
    with pytest.raises(RevisionError):
        named_versions(old, new)


def test_a_path_behind_a_revision_is_from_the_root_unless_it_begins_with_a_dot(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root / "policies")
    for name in ("git:v1:policies/a.yaml", "git:v1:./a.yaml"):
        version, working = named_versions(name, None)
        assert [policy.name for policy in load_version(version).snapshot.policies] == ["a"]
        assert [policy.name for policy in load_version(working).snapshot.policies] == ["working-tree"]
