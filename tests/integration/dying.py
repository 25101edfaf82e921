"""An authority that issues until it is killed, at a step of its own choosing: `python dying.py DIRECTORY STEP`.

It prints the serial of everything that it gave out, when it gave it out. STEP is when it dies by SIGKILL, on its third certificate:
`intended`, `signed`, `released`, or `prepared` and `activated` for steps of a rotation.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ca.attestation import Attestor, Caller
from ca.csr import read_csr
from ca.entries import Entry
from ca.keys import DiskKeyStore
from ca.lifetimes import Settings
from ca.office import Office
from ca.phases import SlotKind
from ca.rotation import hurried
from ca.selector import Selector
from ca.store import Store
from identity import SpiffeId, TrustDomain
from tests.unit.ca.offices import csr

TD = TrustDomain("example.org")
WEB = SpiffeId(TD, "/web")
SELECTOR = Selector("unix", "uid:1")
CALLER = Caller(Attestor.UNIX, "unix:uid:1", frozenset({SELECTOR}))
SETTINGS = Settings(notice=timedelta(0))
THIRD = 3


def opened(directory: Path) -> tuple[Store, Office, DiskKeyStore]:
    """The authority in `directory`, which is made if it is not there."""
    store = Store.open(f"sqlite:///{directory}/store/store.db")
    keys = DiskKeyStore(directory / "keys", passphrase=b"open")
    office = Office.of(TD, store, keys, SETTINGS)
    office.open()
    return store, office, keys


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dying(real: Callable[..., Any], *, before: bool) -> Callable[..., Any]:
    """`real`, which the third time kills us before it is done, or after it is."""
    calls = 0

    def call(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls < THIRD:
            return real(*arguments, **named)
        if before:
            die()
        result = real(*arguments, **named)
        if not isinstance(result, Awaitable):
            die()

        async def waited() -> None:
            await result
            die()

        return waited()

    return call


async def issue_for_ever(office: Office) -> None:
    while True:
        issued = await office.issuance.x509_svid(CALLER, read_csr(csr()), at=datetime.now(UTC))
        say(f"{issued.svid.leaf.serial_number:x}")


def main() -> None:
    directory, step = Path(sys.argv[1]), sys.argv[2]
    store, office, keys = opened(directory)
    store.entries.create(Entry.new(WEB, [SELECTOR], at=datetime.now(UTC)), by="test", at=datetime.now(UTC)).result()
    inventory = store.inventory
    match step:
        case "intending":
            inventory.intend = dying(inventory.intend, before=True)  # type: ignore[method-assign]  # it is to die there
        case "intended":
            inventory.intend = dying(inventory.intend, before=False)  # type: ignore[method-assign]  # as above
        case "signed":
            inventory.complete = dying(inventory.complete, before=True)  # type: ignore[method-assign]  # as above
        case "released":
            inventory.complete = dying(inventory.complete, before=False)  # type: ignore[method-assign]  # as above
        case "rotating":
            for _ in range(THIRD - 1):
                rotate(store, office, keys)
            store.authorities.save = die  # type: ignore[assignment, method-assign]  # as above
            rotate(store, office, keys)
        case _:
            pass
    asyncio.run(issue_for_ever(office))


def rotate(store: Store, office: Office, keys: DiskKeyStore) -> None:
    version = store.authorities.load(TD)
    if version is None:
        raise LookupError("no authorities")
    at = datetime.now(UTC)
    changed = hurried(version.authorities, SlotKind.ROOT, keys=keys, settings=SETTINGS, at=at)
    store.authorities.save(changed, before=version, by="test", action="rotate root", at=at).result()
    office.supervisor.advance()
    bundle = store.authorities.load(TD)
    say(f"bundle {bundle and bundle.authorities.sequence}")


if __name__ == "__main__":
    main()
