"""Current: the snapshot in force, replaced as its documents change, never by a bad one."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from watchfiles import awatch

from mesh.directory import DirectoryStore, Loaded
from mesh.errors import PolicyStoreError
from mesh.files import STDIN
from mesh.snapshot import Snapshot

__all__ = ["Current"]

# Editors and Git write in bursts: a change is taken up when this much time, in milliseconds, has passed without another.
_QUIET = 50
# Not every file system tells of changes, and none tells of one made before the watching began. Milliseconds.
_AT_LEAST_EVERY = 5_000


class Current:
    """Holds the last good snapshot of a store.

    `on_load` hears of every new snapshot, `on_refusal` why a changed store was not taken up.
    """

    def __init__(
        self,
        store: DirectoryStore,
        *,
        on_load: Callable[[Loaded], None],
        on_refusal: Callable[[PolicyStoreError], None],
    ) -> None:
        """Load the store for the first time.

        Raises:
            PolicyStoreError: There is no good snapshot to begin with.
        """
        self._store = store
        self._on_load = on_load
        self._on_refusal = on_refusal
        self.snapshot = self._take(store.load())

    def _take(self, loaded: Loaded | None) -> Snapshot:
        if loaded is None:
            return self.snapshot
        self._on_load(loaded)
        return loaded.snapshot

    async def reload(self) -> None:
        """Look at the store again, and take up what is good and new."""
        try:
            loaded = await asyncio.to_thread(self._store.load, known=self.snapshot.revision)
        except PolicyStoreError as error:
            self._on_refusal(error)
        else:
            self.snapshot = self._take(loaded)

    async def watch(self, stop: asyncio.Event) -> None:
        """Reload whenever a file changes, until `stop` is set."""
        names = [name for name in (*self._store.paths, self._store.mesh_file) if name is not None and name != STDIN]
        # The directory of a file, for editors and mounts replace files rather than write them.
        watched = {path if path.is_dir() else path.parent for path in map(Path, names)}
        if not watched:
            await stop.wait()
            return
        changes = awatch(
            *watched,
            stop_event=stop,
            step=_QUIET,
            debounce=10 * _QUIET,
            rust_timeout=_AT_LEAST_EVERY,
            yield_on_timeout=True,
        )
        async for _ in changes:
            await self.reload()
