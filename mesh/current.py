"""Current: the snapshot in force, replaced as its documents change, never by a bad one."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from watchfiles import awatch

from mesh.directory import DirectoryStore, Loaded
from mesh.errors import InvalidManifestsError, PolicyStoreError
from mesh.files import STDIN
from mesh.snapshot import Snapshot

__all__ = ["Current"]

_logger = logging.getLogger("meshward")

# Editors and Git write in bursts: a change is taken up when this much time, in milliseconds, has passed without another.
_QUIET = 50
# Not every file system tells of changes, and none tells of one made before the watching began. Milliseconds.
_AT_LEAST_EVERY = 5_000


class Current:
    """Holds the last good snapshot of a store.

    `on_load` hears of every new snapshot, `on_refusal` why a changed store was not taken up, once for each change.
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
        # What was looked at last, good or bad, and what is wrong if not even that much can be said.
        self._seen = ""
        self._complaint = ""
        self._reloading = asyncio.Lock()
        self.snapshot = self._take(store.load())

    def _take(self, loaded: Loaded) -> Snapshot:
        self._seen = loaded.snapshot.revision
        self._on_load(loaded)
        return loaded.snapshot

    async def reload(self) -> None:
        """Look at the store again, and take up what is good and new."""
        async with self._reloading:
            try:
                loaded = await asyncio.to_thread(self._store.load_unless, self._seen)
            except InvalidManifestsError as error:
                self._seen, self._complaint = error.revision, ""
                self._on_refusal(error)
            except PolicyStoreError as error:
                self._complain(error)
            except Exception as error:  # what nobody foresaw must not end the server that still has a good snapshot
                _logger.exception("the manifests could not be loaded")
                self._complain(PolicyStoreError(f"internal error: {type(error).__name__}: {error}"))
            else:
                self._complaint = ""
                if loaded is not None:
                    self.snapshot = self._take(loaded)

    def _complain(self, error: PolicyStoreError) -> None:
        # The store is looked at every few seconds; the same news is none.
        if str(error) != self._complaint:
            self._complaint = str(error)
            self._on_refusal(error)

    async def watch(self, stop: asyncio.Event) -> None:
        """Reload whenever a file changes, until `stop` is set."""
        names = [name for name in (*self._store.paths, self._store.mesh_file) if name is not None and name != STDIN]
        directories = {path for path in map(Path, names) if path.is_dir()}
        # The directory of a file or link, for editors and mounts replace them; and no deeper, for it may be anybody's home.
        parents = {path.parent for path in map(Path, names) if path not in directories or path.is_symlink()}
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(stop.wait())
            for paths, recursive in ((directories, True), (parents - directories, False)):
                if paths:
                    tasks.create_task(self._watch(paths, stop, recursive=recursive))

    async def _watch(self, paths: Iterable[Path], stop: asyncio.Event, *, recursive: bool) -> None:
        changes = awatch(
            *paths,
            watch_filter=None,
            stop_event=stop,
            step=_QUIET,
            debounce=10 * _QUIET,
            rust_timeout=_AT_LEAST_EVERY,
            yield_on_timeout=True,
            recursive=recursive,
            ignore_permission_denied=True,
        )
        try:
            async for _ in changes:
                await self.reload()
        except OSError as error:  # the system has no more watches to give
            every = _AT_LEAST_EVERY // 1000
            _logger.warning("cannot watch the manifests: %s; they are looked at every %d s", error, every)
            while not stop.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), every)
                await self.reload()
