"""Current: the snapshot in force, replaced as its documents change, never by a bad one."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path

from watchfiles import awatch

from mesh.directory import DirectoryStore, Loaded
from mesh.errors import BudgetError, InvalidManifestsError, PolicyStoreError
from mesh.files import STDIN
from mesh.replacing import freeze, let_go, short_turns
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
        self._complaint = ""
        self._invalid = False
        self._looked = 0.0
        self._reloading = asyncio.Lock()
        self.snapshot = self._take(store.load())
        freeze()

    def _take(self, loaded: Loaded) -> Snapshot:
        self._on_load(loaded)
        return loaded.snapshot

    def _load_if_changed(self, changed: Collection[str] | None) -> Loaded | None:
        loaded = self._store.load_if_changed(changed)
        if loaded is not None:
            freeze()
        return loaded

    async def reload(self, changed: Collection[str] | None = None) -> None:
        """Look at the store again, and take up what is good and new.

        `changed` are the paths of what has changed since it was looked at last, where that is known.
        """
        async with self._reloading:
            if changed is None:
                self._looked = time.monotonic()
            try:
                loaded = await asyncio.to_thread(self._load_if_changed, changed)
            except (BudgetError, InvalidManifestsError) as error:
                self._complaint, self._invalid = "", True
                self._on_refusal(error)
            except PolicyStoreError as error:
                self._complain(error)
            except Exception as error:  # what nobody foresaw must not end the server that still has a good snapshot
                _logger.exception("the manifests could not be loaded")
                self._complain(PolicyStoreError(f"internal error: {type(error).__name__}: {error}"))
            else:
                self._complaint = ""
                if loaded is not None:
                    self._invalid = False
                    outdated, self.snapshot = [self.snapshot], self._take(loaded)
                    await asyncio.to_thread(let_go, outdated)

    @property
    def refused(self) -> bool:
        """Whether what the store holds now was not taken up, so that an older snapshot is in force."""
        return self._invalid or bool(self._complaint)

    def _complain(self, error: PolicyStoreError) -> None:
        # The store is looked at every few seconds; the same news is none.
        if str(error) != self._complaint:
            self._complaint = str(error)
            self._on_refusal(error)

    async def watch(self, stop: asyncio.Event) -> None:
        """Reload whenever a file changes, until `stop` is set, and let answers go on meanwhile."""
        names = [name for name in (*self._store.paths, self._store.mesh_file) if name is not None and name != STDIN]
        directories = {path for path in map(Path, names) if path.is_dir()}
        # The directory of a file or link, for editors and mounts replace them; and no deeper, for it may be anybody's home.
        parents = {path.parent for path in map(Path, names) if path not in directories or path.is_symlink()}
        with short_turns():
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
            async for found in changes:
                if found:
                    await self.reload([path for _, path in found])
                # What is told may not be all, however much it is.
                if not found or time.monotonic() - self._looked > _AT_LEAST_EVERY / 1000:
                    await self.reload()
        except OSError as error:  # the system has no more watches to give
            every = _AT_LEAST_EVERY // 1000
            _logger.warning("cannot watch the manifests: %s; they are looked at every %d s", error, every)
            while not stop.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), every)
                await self.reload()
