"""Aim: an inventory of a million certificates lists and issues as one of ten thousand does.

Both stores stand side by side and are asked in turns. Issuing is what a certificate costs in the store alone: an intent, a release and
a row of the audit chain, by 64 at a time who wait in one event loop. Entries are looked up by callers of a hundred thousand workloads.
"""

import asyncio
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import create_engine, insert

from benchmarks.row import Better, Row
from ca.entries import Entry, EntryIndex
from ca.inventory import Intent, InventoryFilter, IssuedKind, IssuedState
from ca.selector import Selector
from ca.store import Store
from ca.store.schema import issued
from identity import SpiffeId, TrustDomain

SIZES = {"10,000": 10_000, "1,000,000": 1_000_000}
ENTRIES = 100_000
ROUNDS = 15
ASKED = 40
ISSUED = 512
TOGETHER = 64

AT = datetime(2030, 1, 1, tzinfo=UTC)
TD = TrustDomain("example.org")
SECOND = timedelta(seconds=1)


def measure() -> dict[str, object]:
    """Microseconds of each question to both inventories, certificates a second, and what each ratio is."""
    with tempfile.TemporaryDirectory(prefix="meshward-") as name:
        urls = {size: f"sqlite:///{name}/{rows}/store.db" for size, rows in SIZES.items()}
        for size, rows in SIZES.items():
            Store.open(urls[size]).close()
            _fill(urls[size], rows)
        stores = {size: Store.open(url) for size, url in urls.items()}
        try:
            measured = _in_turns(stores)
        finally:
            for store in stores.values():
                store.close()
    return {
        "by_rows": measured,
        "ratio": {
            what: round(measured["1,000,000"][what] / measured["10,000"][what], 2) for what in measured["10,000"]
        },
        "entries": _entries(),
    }


def _in_turns(stores: dict[str, Store]) -> dict[str, dict[str, float]]:
    """Medians over the rounds; in each, every store is asked everything."""
    taken: dict[str, dict[str, list[float]]] = {size: {} for size in stores}
    for _ in range(ROUNDS):
        for size, store in stores.items():
            for what, ask in _questions(store, SIZES[size]).items():
                taken[size].setdefault(what, []).append(_microseconds(ask, ASKED))
            taken[size].setdefault("issue_us", []).append(_issue(store, SIZES[size]))
    return {
        size: {what: round(statistics.median(figures), 1) for what, figures in by_what.items()}
        for size, by_what in taken.items()
    }


def _questions(store: Store, rows: int) -> dict[str, Callable[[], object]]:
    middle = AT + rows // 2 * SECOND
    inventory = store.inventory

    def listing(wanted: InventoryFilter) -> Callable[[], object]:
        return lambda: inventory.list(wanted, at=middle, size=20)

    return {
        "everything_us": listing(InventoryFilter()),
        "by_name_us": listing(InventoryFilter(spiffe_id=_name(rows // 2))),
        "by_prefix_us": listing(InventoryFilter(prefix=str(_name(rows // 2))[:-1])),
        "valid_us": listing(InventoryFilter(state=IssuedState.VALID)),
        "expiring_us": listing(InventoryFilter(expiring_within=timedelta(hours=1))),
        "revoked_us": listing(InventoryFilter(state=IssuedState.REVOKED, issuer="a7")),
        "by_time_us": listing(InventoryFilter(intended_from=middle)),
        "last_expiry_us": lambda: inventory.last_expiry(["a0", "a7"]),
    }


def _issue(store: Store, rows: int) -> float:
    """Microseconds a certificate takes, when 64 are under way."""
    at = AT + 2 * rows * SECOND
    intents = [_intent(number, at) for number in range(ISSUED)]

    async def issue() -> None:
        turn = asyncio.Semaphore(TOGETHER)

        async def one(intent: Intent) -> None:
            async with turn:
                store.inventory.intend(intent, at=at)
                await store.inventory.complete(intent, at=at)

        await asyncio.gather(*(one(intent) for intent in intents))

    return _microseconds(lambda: asyncio.run(issue()), 1) / ISSUED


def _intent(number: int, at: datetime) -> Intent:
    return Intent(
        secrets.token_hex(20),
        _name(number),
        IssuedKind.X509,
        f"a{number % 8}",
        at,
        at + timedelta(hours=1),
        secrets.token_bytes(32),
        None,
        "spiffe://example.org/node",
    )


def _name(number: int) -> SpiffeId:
    return SpiffeId(TD, f"/ns/n{number % 100}/sa/s{number % 500}")


def _fill(url: str, rows: int) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        for start in range(0, rows, 10_000):
            connection.execute(insert(issued), [_row(number) for number in range(start, start + 10_000)])
    engine.dispose()


def _row(number: int) -> dict[str, object]:
    at = AT + number * SECOND
    intent = _intent(number, at)
    # So many that a page of them is full in either store.
    revoked = number % 200 == 7
    return {
        "serial": intent.serial,
        "spiffe_id": str(intent.spiffe_id),
        "kind": intent.kind.value,
        "issuer": intent.issuer,
        "not_before": intent.not_before,
        "not_after": intent.not_after,
        "spki_sha256": intent.spki_sha256,
        "entry": None,
        "caller": intent.caller,
        "intended": at,
        "released": at,
        "revoked": at if revoked else None,
        "revoked_reason": "superseded" if revoked else None,
    }


def _entries() -> dict[str, float]:
    """Microseconds to find the one entry of a caller among a hundred thousand that share cluster and namespace."""
    index = EntryIndex()
    shared = (Selector("k8s", "cluster:one"), Selector("k8s", "ns:shop"))
    for number in range(ENTRIES):
        own = Selector("k8s", f"sa:{number}")
        entry = Entry.new(SpiffeId(TD, f"/ns/shop/sa/{number}"), [*shared, own], at=AT)
        index.put(number, replace(entry, hint="h"))
    caller = frozenset((*shared, Selector("k8s", "sa:77"), Selector("k8s", "pod:x")))
    return {"find_us": round(_microseconds(lambda: index.entries_for(caller), 2000), 2)}


def _microseconds(act: Callable[[], object], times: int) -> float:
    started = time.perf_counter()
    for _ in range(times):
        act()
    return (time.perf_counter() - started) * 1e6 / times


ROWS = (
    Row("Issuing: store, 1,000,000 rows to 10,000", 1.5, lambda result: result["ratio"]["issue_us"], "times"),
    Row(
        "Listing: the slowest filter, 1,000,000 rows to 10,000",
        1.5,
        lambda result: max(ratio for what, ratio in result["ratio"].items() if what != "issue_us"),
        "times",
    ),
    Row(
        "Store, issued with 1,000,000 rows",
        1_500,
        lambda result: round(1e6 / result["by_rows"]["1,000,000"]["issue_us"]),
        "/s",
        Better.MORE,
    ),
    Row("An entry among 100,000", 20.0, lambda result: result["entries"]["find_us"], "µs"),
)
