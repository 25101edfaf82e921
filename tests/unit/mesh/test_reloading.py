"""The law of reloading: whatever changed before, and however it was told, what is loaded is what is loaded from nothing."""

import tempfile
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.directory import DirectoryStore, Examined, Loaded
from mesh.errors import PolicyStoreError
from mesh.files import ManifestFiles
from tests.unit.mesh.meshes import FIRST, MESH_CONFIGS, Edit, Write, edits, outcome, stamp

batches = st.lists(st.tuples(st.lists(edits, min_size=1, max_size=3), st.booleans()), min_size=1, max_size=8)


def store_of(directory: Path, mesh_file: Path | None) -> DirectoryStore:
    return DirectoryStore([str(directory)], None if mesh_file is None else str(mesh_file))


def loaded(store: DirectoryStore) -> Loaded | PolicyStoreError:
    try:
        return store.load()
    except PolicyStoreError as error:
        return error


def examined(store: DirectoryStore) -> Examined | str:
    try:
        return store.examine()
    except PolicyStoreError as error:
        return str(error)


class Reloaded:
    """A store that outlives all changes, and what it said last."""

    def __init__(self, directory: Path, mesh_file: Path | None) -> None:
        self.store = store_of(directory, mesh_file)
        self.said: Loaded | PolicyStoreError = self.store.load()

    def have_time_pass(self, ticks: Iterator[int]) -> None:
        """Between two looks more passes than any clock's tick, so that what has its old time is not read again."""
        self.store._files = ManifestFiles(self.store.paths, clock=lambda: 10.0 * next(ticks))

    def look(self, changed: Sequence[Path] | None) -> None:
        try:
            found = self.store.load_if_changed(None if changed is None else list(map(str, changed)))
            if found is not None:
                self.said = found
        except PolicyStoreError as error:
            self.said = error


@settings(max_examples=400)
@given(changes=batches, time_passes=st.booleans(), mesh=st.sampled_from((None, *MESH_CONFIGS)))
def test_a_reload_gives_what_loading_from_nothing_gives(
    changes: list[tuple[list[Edit], bool]], *, time_passes: bool, mesh: str | None
) -> None:
    ticks = count(1)
    with tempfile.TemporaryDirectory() as name:
        directory, mesh_file = Path(name) / "mesh", None
        directory.mkdir()
        for path, text in FIRST.items():
            Write(path, text)(directory)
        if mesh is not None:
            mesh_file = Path(name) / "mesh.yaml"
            mesh_file.write_text(mesh)
        reloaded = Reloaded(directory, mesh_file)
        if time_passes:
            reloaded.have_time_pass(ticks)
            reloaded.look(None)
        last_read = reloaded.said
        for batch, told in changes:
            touched: list[Path] = []
            for edit in batch:
                touched += edit(directory)
                stamp(touched, next(ticks) * 10**9)
            reloaded.look(touched if told else None)
            anew = loaded(store_of(directory, mesh_file))
            if type(reloaded.said) is PolicyStoreError and type(anew) is not PolicyStoreError:
                # What could not be read is as it was again, and of that all has been said.
                reloaded.said = last_read
            assert outcome(reloaded.said) == outcome(anew)
            if type(reloaded.said) is not PolicyStoreError:
                last_read = reloaded.said
        assert examined(reloaded.store) == examined(store_of(directory, mesh_file))


def policy(name: str, spec: str, kind: str = "AuthorizationPolicy") -> str:
    return f"apiVersion: security.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{{spec}}}\n"


def other(kind: str, api_version: str = "v1", name: str = "there", spec: str = "{}") -> str:
    return f"---\napiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: shop}}\nspec: {spec}\n"


GATEWAY = other("Gateway", "gateway.networking.k8s.io/v1", "way", "{gatewayClassName: istio-waypoint}")
CALLED_FROM = policy("p", "rules: [{from: [{source: {namespaces: [shpo]}}]}]")
LOOKS_AT_TOKENS = policy("p", "rules: [{from: [{source: {requestPrincipals: ['*']}}]}]")
TOKENS_OF_OTHERS = policy("t", "selector: {matchLabels: {a: b}}, jwtRules: [{issuer: a}]", "RequestAuthentication")
ASKS = policy("p", "action: CUSTOM, provider: {name: opa}, rules: [{}]")


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        (CALLED_FROM, other("Namespace"), "unknown-namespace"),
        (
            policy("p", "targetRefs: [{kind: Service, group: '', name: api}]") + GATEWAY,
            other("Service"),
            "missing-target",
        ),
        (
            policy("p", "targetRefs: [{kind: Gateway, group: gateway.networking.k8s.io, name: wey}]"),
            other("Gateway", "gateway.networking.k8s.io/v1"),
            "missing-target",
        ),
        (LOOKS_AT_TOKENS + other("Pod"), f"---\n{TOKENS_OF_OTHERS}", "no-tokens"),
        (policy("p", "selector: {matchLabels: {a: b}}"), other("Pod"), "no-workload"),
        (ASKS, "---\ntrustDomain: td.example\n", "unknown-provider"),
    ],
)
def test_a_policy_that_was_good_is_looked_at_again_when_what_it_was_compared_with_changes(
    tmp_path: Path, first: str, second: str, code: str
) -> None:
    (tmp_path / "a.yaml").write_text(first)
    store = store_of(tmp_path, None)
    assert code not in [warning.code for warning in store.load().warnings]
    (tmp_path / "b.yaml").write_text(second)
    assert code in [warning.code for warning in store.load().warnings]
    (tmp_path / "b.yaml").unlink()
    assert code not in [warning.code for warning in store.load().warnings]
