"""What the authority's store keeps to, on each of its databases."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from random import Random
from uuid import uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import create_engine, make_url, text

from ca.audit import EMPTY, AuditEvent, AuditHead, Outcome
from ca.authorities import Authorities, Slot
from ca.entries import Entry, EntryFilter
from ca.errors import (
    BrokenAuditError,
    ClockError,
    JoinTokenError,
    NewerSchemaError,
    NotKeptError,
    StoreConflictError,
    StoreUnavailableError,
    TokenFault,
)
from ca.inventory import Intent, InventoryFilter, Issued, IssuedKind, IssuedState, RevocationReason
from ca.phases import Pace, Phase, SlotKind
from ca.selector import Selector
from ca.store import Answer, Store
from ca.store.committing import Transaction
from ca.store.schema import REVOCATIONS, metadata
from identity import Bundle, JwtAuthority, SpiffeId, TrustDomain
from tests.contracts.postgresql import find_postgresql, running_postgresql

AT = datetime(2030, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
TD = TrustDomain("example.org")
WEB = SpiffeId(TD, "/ns/shop/sa/web")
API = SpiffeId(TD, "/ns/shop/sa/api")
BY = "spiffe://example.org/operator"
ROOT = Path(__file__).parents[2]
FOREIGN_KEY = ec.generate_private_key(ec.SECP256R1()).public_key()

Urls = Callable[[], str]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    programs = find_postgresql()
    if programs is None:
        pytest.skip("no PostgreSQL on this machine (Debian package postgresql)")
    with running_postgresql(programs) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Urls:
    """Makes URLs of stores that are not there yet."""
    if request.param == "sqlite":
        return lambda: f"sqlite:///{tmp_path}/{uuid4().hex}/store.db"
    server: str = request.getfixturevalue("server")

    def create() -> str:
        name = f"store_{uuid4().hex}"
        engine = create_engine(server.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return server.replace("/postgres?", f"/{name}?")

    return create


@pytest.fixture
def url(new_url: Urls) -> str:
    return new_url()


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store.open(url) as store:
        yield store


def behind(url: str, *statements: str) -> None:
    """Change the database as somebody would who has its password."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    try:
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
    finally:
        engine.dispose()


def selectors(*texts: str) -> frozenset[Selector]:
    return frozenset(map(Selector.parse, texts))


def entry(spiffe_id: SpiffeId = WEB, *texts: str) -> Entry:
    return Entry.new(spiffe_id, selectors(*(texts or ("k8s:ns:shop", "k8s:sa:web"))), at=AT)


def intent(spiffe_id: SpiffeId = WEB, *, ttl: timedelta = HOUR, issuer: str = "a1", at: datetime = AT) -> Intent:
    return Intent(
        uuid4().hex,
        spiffe_id,
        IssuedKind.X509,
        issuer,
        at,
        at + ttl,
        # One key a name: no other may have it.
        sha256(str(spiffe_id).encode()).digest(),
        None,
        "spiffe://example.org/caller",
    )


def issue(store: Store, what: Intent, at: datetime = AT) -> Intent:
    store.inventory.intend(what, at=at).result()
    store.inventory.complete(what, at=at).result()
    return what


# The tables


def test_the_tables_are_those_that_the_code_knows(url: str) -> None:
    Store.open(url).close()
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_what_was_kept_is_there_when_it_is_opened_again(url: str) -> None:
    with Store.open(url) as store:
        kept = store.entries.create(entry(), by=BY, at=AT).result()
    with Store.open(url) as store:
        assert store.entries.get(kept.id) == kept


def test_stores_that_are_opened_at_the_same_time_make_the_tables_once(url: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        for store in pool.map(Store.open, [url] * 8):
            store.close()


def test_a_store_of_a_newer_version_is_refused_and_left_alone(url: str) -> None:
    Store.open(url).close()
    behind(url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(NewerSchemaError, match=r"`9999`.*`0001`"):
        Store.open(url)


def test_a_closed_store_says_so(store: Store) -> None:
    store.close()
    with pytest.raises(StoreUnavailableError, match="closed"):
        store.audit.append(AuditEvent(AT, BY, "x", Outcome.DONE))


# Entries


def test_an_entry_comes_back_as_it_was(store: Store) -> None:
    full = replace(
        entry(),
        ttl=HOUR,
        jwt_ttl=timedelta(minutes=5),
        dns_names=("web.shop", "web"),
        federates_with=frozenset({TrustDomain("other.example")}),
        admin=True,
        hint="main",
    )
    assert store.entries.create(full, by=BY, at=AT).result() == full
    assert store.entries.get(full.id) == full


def test_an_entry_that_says_the_same_is_not_made_twice(store: Store) -> None:
    first, second = entry(), entry()
    assert store.entries.create(first, by=BY, at=AT).result() == first
    assert store.entries.create(second, by=BY, at=AT).result() == first
    assert store.entries.list(EntryFilter()).rows == (first,)


def test_an_entry_that_says_something_else_of_the_same_is_refused(store: Store) -> None:
    first = store.entries.create(entry(), by=BY, at=AT).result()
    for other in (replace(entry(), ttl=HOUR), replace(entry(API), id=first.id)):
        with pytest.raises(StoreConflictError):
            store.entries.create(other, by=BY, at=AT).result()
    assert store.entries.list(EntryFilter()).rows == (first,)


def test_entries_apply_to_callers_that_have_all_of_their_selectors(store: Store) -> None:
    web = store.entries.create(entry(), by=BY, at=AT).result()
    api = store.entries.create(entry(API, "k8s:ns:shop"), by=BY, at=AT).result()
    assert store.entries.entries_for(selectors("k8s:ns:shop", "k8s:sa:web", "k8s:x")) == (web, api)
    assert store.entries.entries_for(selectors("k8s:ns:shop")) == (api,)
    assert store.entries.entries_for(frozenset()) == ()
    store.entries.delete(web.id, by=BY, at=AT).result()
    assert store.entries.entries_for(selectors("k8s:ns:shop", "k8s:sa:web")) == (api,)


def test_another_replica_sees_an_entry_come_and_go(url: str, store: Store) -> None:
    with Store.open(url, fresh=timedelta(0)) as other:
        assert other.entries.entries_for(selectors("unix:uid:1")) == ()
        kept = entry()
        for number in range(3):
            kept = store.entries.create(entry(SpiffeId(TD, f"/w{number}"), "unix:uid:1"), by=BY, at=AT).result()
            assert kept in other.entries.entries_for(selectors("unix:uid:1"))
        store.entries.delete(kept.id, by=BY, at=AT).result()
        assert len(other.entries.entries_for(selectors("unix:uid:1"))) == 2


def test_entries_are_listed_in_pages_and_found_by_name_prefix_and_selector(store: Store) -> None:
    kept = [
        store.entries.create(entry(SpiffeId(TD, f"/w/{number}"), "unix:uid:1", f"unix:gid:{number % 2}"), by=BY, at=AT)
        for number in range(7)
    ]
    everything = [pending.result() for pending in kept]
    listed: list[Entry] = []
    after = None
    while True:
        page = store.entries.list(EntryFilter(), size=3, after=after)
        listed += page.rows
        after = page.next
        if after is None:
            break
    assert listed == everything
    assert store.entries.list(EntryFilter(spiffe_id=everything[3].spiffe_id)).rows == (everything[3],)
    assert store.entries.list(EntryFilter(prefix="spiffe://example.org/w/6")).rows == (everything[6],)
    assert len(store.entries.list(EntryFilter(selector=Selector("unix", "gid:0"))).rows) == 4
    with pytest.raises(ValueError, match="page"):
        store.entries.list(EntryFilter(), size=0)
    with pytest.raises(ValueError, match="begin without it"):
        store.entries.list(EntryFilter(), after='["x", 1]')


def test_an_unknown_entry_is_not_kept(store: Store) -> None:
    with pytest.raises(NotKeptError):
        store.entries.get("nobody")
    with pytest.raises(NotKeptError):
        store.entries.delete("nobody", by=BY, at=AT).result()


# Join tokens


def test_a_token_lets_in_once_and_the_audit_says_why_not_again(store: Store) -> None:
    token = store.tokens.create(WEB, ttl=HOUR, by=BY, at=AT).result()
    assert store.tokens.redeem(token.text, by="x", at=AT).result().spiffe_id == WEB
    late = store.tokens.create(WEB, ttl=HOUR, by=BY, at=AT).result()
    for text_, at, fault in (
        (token.text, AT, TokenFault.USED),
        ("guessed", AT, TokenFault.UNKNOWN),
        (late.text, AT + HOUR, TokenFault.EXPIRED),
    ):
        with pytest.raises(JoinTokenError) as refused:
            store.tokens.redeem(text_, by="x", at=at).result()
        assert refused.value.fault is fault
    said = [
        row.event.reason.rpartition(" ")[2] for row in store.audit.list().rows if row.event.outcome is Outcome.REFUSED
    ]
    assert said == ["token-used", "token-unknown", "token-expired"]


def test_a_token_is_nowhere_but_in_the_hand_of_who_made_it(url: str, store: Store) -> None:
    token = store.tokens.create(WEB, ttl=HOUR, by=BY, at=AT).result()
    assert token.text not in repr(token)
    store.close()
    if url.startswith("sqlite"):
        assert all(
            token.text.encode() not in path.read_bytes() for path in Path(str(make_url(url).database)).parent.iterdir()
        )


def test_a_withdrawn_token_lets_nobody_in(store: Store) -> None:
    token = store.tokens.create(WEB, ttl=HOUR, by=BY, at=AT).result()
    assert store.tokens.list().rows == (token.kept,)
    store.tokens.withdraw(token.kept.id, by=BY, at=AT).result()
    with pytest.raises(JoinTokenError):
        store.tokens.redeem(token.text, by="x", at=AT).result()


def test_of_a_hundred_who_show_a_token_at_once_one_gets_in(url: str, store: Store) -> None:
    token = store.tokens.create(WEB, ttl=HOUR, by=BY, at=AT).result()
    with Store.open(url) as other, ThreadPoolExecutor(20) as pool:

        def redeem(number: int) -> bool:
            try:
                (store, other)[number % 2].tokens.redeem(token.text, by="x", at=AT).result()
            except JoinTokenError:
                return False
            return True

        assert sum(pool.map(redeem, range(100))) == 1
    store.audit.verify()


REDEEM = """
import sys
from datetime import UTC, datetime
from ca.errors import JoinTokenError
from ca.store import Store
with Store.open(sys.argv[1]) as store:
    print("ready", flush=True)
    token = sys.stdin.readline().strip()
    pending = [store.tokens.redeem(token, by="x", at=datetime(2030, 1, 1, 12, tzinfo=UTC)) for _ in range(25)]
    won = 0
    for one in pending:
        try:
            one.result()
            won += 1
        except JoinTokenError:
            pass
    print(won)
"""


def test_of_processes_that_show_a_token_at_once_one_gets_in(url: str, store: Store) -> None:
    token = store.tokens.create(WEB, ttl=HOUR, by=BY, at=AT).result()
    processes = [
        subprocess.Popen(  # noqa: S603  # ourselves
            [sys.executable, "-c", REDEEM, url], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(token.text + "\n")
        process.stdin.flush()
    assert sum(int(process.communicate(timeout=60)[0]) for process in processes) == 1
    store.audit.verify()


# The inventory


def test_what_is_intended_is_no_certificate_until_it_is_complete(store: Store) -> None:
    what = intent()
    store.inventory.intend(what, at=AT).result()
    assert store.inventory.get(what.serial).state(AT) is IssuedState.INTENDED
    store.inventory.complete(what, at=AT).result()
    assert store.inventory.get(what.serial).state(AT) is IssuedState.VALID
    assert store.inventory.get(what.serial).intent == what


def test_nothing_is_released_that_was_not_intended_or_is_released_or_revoked(store: Store) -> None:
    revoked, released = intent(), issue(store, intent())
    store.inventory.intend(revoked, at=AT).result()
    store.inventory.revoke(revoked.serial, RevocationReason.SUPERSEDED, by=BY, at=AT).result()
    head = store.audit.head()
    for what in (intent(), released, revoked):
        with pytest.raises(StoreConflictError):
            store.inventory.complete(what, at=AT).result()
    assert store.audit.head() == head


def test_one_bad_piece_of_work_spoils_none_of_those_it_shares_a_commit_with(store: Store) -> None:
    good = [intent() for _ in range(40)]
    for what in good:
        store.inventory.intend(what, at=AT)
    pending = [store.inventory.complete(what, at=AT) for what in good]
    bad = store.inventory.complete(intent(), at=AT)
    twice = store.inventory.intend(good[0], at=AT)
    pending += [store.inventory.intend(intent(), at=AT) for _ in range(20)]
    for one in pending:
        one.result()
    with pytest.raises(StoreConflictError):
        bad.result()
    with pytest.raises(StoreConflictError):
        twice.result()
    assert len(store.inventory.list(InventoryFilter(state=IssuedState.VALID), at=AT).rows) == 40
    store.audit.verify()


def test_many_tasks_of_an_event_loop_wait_for_one_commit_together(store: Store) -> None:
    async def issue_all() -> None:
        async def one(what: Intent) -> None:
            await store.inventory.intend(what, at=AT)
            await store.inventory.complete(what, at=AT)

        await asyncio.gather(*(one(intent()) for _ in range(200)))
        with pytest.raises(StoreConflictError):
            await store.inventory.complete(intent(), at=AT)

    asyncio.run(issue_all())
    assert store.audit.verify().number == 200


def test_a_connection_that_was_cut_while_nobody_wrote_is_made_anew(url: str, store: Store) -> None:
    if not url.startswith("postgresql"):
        pytest.skip("a file is not cut off")
    issue(store, intent())
    behind(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    issue(store, intent(API))
    assert store.audit.verify().number == 2


def test_what_went_by_the_library_is_undone_with_what_went_by_the_driver(store: Store) -> None:
    def spoiled(transaction: Transaction) -> None:
        transaction.audit(AuditEvent(AT, BY, "try", Outcome.DONE))
        transaction.count(REVOCATIONS)
        raise StoreConflictError("try", "it", "it fails after it has written")

    with pytest.raises(StoreConflictError):
        store._writer.submit(spoiled).result()
    assert store.inventory.revocations("a1", at=AT).number == 0
    issue(store, intent())
    assert store.audit.verify().number == 1


def test_a_key_is_one_names_whether_it_was_asked_for_before_or_at_the_same_time(store: Store) -> None:
    first, again, others = (intent(name) for name in (WEB, WEB, API))
    key = first.spki_sha256
    issue(store, first)
    issue(store, again)
    with pytest.raises(StoreConflictError, match="public key"):
        store.inventory.intend(replace(others, spki_sha256=key), at=AT).result()

    # Together: one commit for all, and only those who may not are told so.
    keys = [bytes([number]) * 32 for number in range(1, 9)]
    asked = [replace(intent(name), spki_sha256=key) for key in keys for name in (WEB, API)]
    good = [replace(intent(WEB), spki_sha256=bytes([100 + number]) * 32) for number in range(20)]
    pending = [store.inventory.intend(each, at=AT) for each in (*asked, *good)]
    outcomes = []
    for each in pending:
        try:
            each.result()
            outcomes.append(True)
        except StoreConflictError:
            outcomes.append(False)
    assert outcomes[len(asked) :] == [True] * len(good)
    assert [sum(outcomes[2 * number : 2 * number + 2]) for number in range(len(keys))] == [1] * len(keys)


def test_a_compromised_key_is_nobodys_any_more(store: Store) -> None:
    what = issue(store, intent(WEB))
    store.inventory.revoke(what.serial, RevocationReason.KEY_COMPROMISE, by=BY, at=AT).result()
    with pytest.raises(StoreConflictError, match="public key"):
        store.inventory.intend(intent(WEB), at=AT).result()
    issue(store, replace(intent(WEB), spki_sha256=bytes(32)))


def test_many_consumers_are_remembered_in_one_commit_and_never_taken_back(store: Store) -> None:
    for sequence, at in ((3, AT), (2, AT + HOUR)):
        for pending in [store.authorities.acknowledge(f"c{n}", sequence, at=at) for n in range(40)]:
            pending.result()
    assert store.authorities.acknowledged(since=AT + HOUR) == {f"c{n}": 3 for n in range(40)}


def test_the_inventory_is_found_by_what_is_asked(store: Store) -> None:
    random = Random(5)
    everything = []
    for number in range(60):
        at = AT + number * timedelta(minutes=1)
        what = intent(random.choice((WEB, API)), ttl=random.choice((HOUR, 3 * HOUR)), issuer=random.choice("ab"), at=at)
        store.inventory.intend(what, at=at).result()
        if random.random() < 0.8:
            store.inventory.complete(what, at=at).result()
        if random.random() < 0.2:
            store.inventory.revoke(what.serial, RevocationReason.SUPERSEDED, by=BY, at=at).result()
        everything.append(store.inventory.get(what.serial))
    now = AT + 90 * timedelta(minutes=1)
    for wanted in (
        InventoryFilter(),
        InventoryFilter(spiffe_id=WEB),
        InventoryFilter(prefix="spiffe://example.org/ns/shop/sa/a"),
        InventoryFilter(issuer="a"),
        *(InventoryFilter(state=state) for state in IssuedState),
        *(InventoryFilter(spiffe_id=API, state=state) for state in IssuedState),
        *(InventoryFilter(issuer="b", state=state) for state in IssuedState),
        *(InventoryFilter(prefix="spiffe://example.org/ns/", state=state) for state in IssuedState),
        InventoryFilter(expiring_within=HOUR),
        InventoryFilter(intended_from=AT + HOUR / 2, intended_to=AT + HOUR),
        InventoryFilter(expires_from=AT + HOUR, expires_to=AT + 2 * HOUR),
        InventoryFilter(kind=IssuedKind.JWT),
    ):
        found: list[Issued] = []
        after = None
        while True:
            page = store.inventory.list(wanted, at=now, size=7, after=after)
            found += page.rows
            after = page.next
            if after is None:
                break
        expected = [row for row in everything if meets(row, wanted, now)]
        assert sorted(found, key=str) == sorted(expected, key=str), wanted
        assert len(set(found)) == len(found)


def meets(row: Issued, wanted: InventoryFilter, now: datetime) -> bool:
    what = row.intent
    within = wanted.expiring_within
    return (
        wanted.spiffe_id in (None, what.spiffe_id)
        and str(what.spiffe_id).startswith(wanted.prefix or "")
        and wanted.issuer in (None, what.issuer)
        and wanted.kind in (None, what.kind)
        and wanted.state in (None, row.state(now))
        and (within is None or (row.state(now) is IssuedState.VALID and what.not_after < now + within))
        and (wanted.intended_from is None or row.intended >= wanted.intended_from)
        and (wanted.intended_to is None or row.intended < wanted.intended_to)
        and (wanted.expires_from is None or what.not_after >= wanted.expires_from)
        and (wanted.expires_to is None or what.not_after < wanted.expires_to)
    )


def test_the_last_to_expire_of_an_issuer_counts_intents_and_not_what_was_revoked(store: Store) -> None:
    issue(store, intent(ttl=HOUR, issuer="a"))
    store.inventory.intend(intent(ttl=2 * HOUR, issuer="a"), at=AT).result()
    last = issue(store, intent(ttl=3 * HOUR, issuer="a"))
    assert store.inventory.last_expiry(["a", "b"]) == {"a": AT + 3 * HOUR}
    store.inventory.revoke(last.serial, RevocationReason.UNSPECIFIED, by=BY, at=AT).result()
    assert store.inventory.last_expiry(["a"]) == {"a": AT + 2 * HOUR}


def test_rows_are_counted_as_they_are_found(store: Store) -> None:
    for ttl in (HOUR, 2 * HOUR, DAY):
        issue(store, intent(ttl=ttl))
    store.inventory.intend(intent(), at=AT).result()
    assert store.inventory.count(InventoryFilter(), at=AT) == 4
    assert store.inventory.count(InventoryFilter(state=IssuedState.VALID), at=AT + HOUR) == 2
    assert store.inventory.count(InventoryFilter(expiring_within=3 * HOUR), at=AT) == 2
    assert store.inventory.count(InventoryFilter(prefix=str(API)), at=AT) == 0


def test_a_name_is_overdue_when_all_that_it_has_is_in_the_last_sixth(store: Store) -> None:
    issue(store, intent(ttl=HOUR))
    issue(store, replace(intent(API, ttl=DAY), spki_sha256=None))
    store.inventory.intend(intent(ttl=DAY), at=AT).result()
    assert store.inventory.names_overdue(at=AT + HOUR * 5 / 6) == 0
    late = AT + HOUR * 5 / 6 + timedelta(seconds=1)
    assert store.inventory.names_overdue(at=late) == 1
    assert store.inventory.names_overdue(at=AT + HOUR) == 0
    assert store.inventory.names_overdue(at=AT + DAY * 23 / 24) == 1
    renewed = issue(store, intent(at=late), at=late)
    assert store.inventory.names_overdue(at=late) == 0
    store.inventory.revoke(renewed.serial, RevocationReason.UNSPECIFIED, by=BY, at=late).result()
    assert store.inventory.names_overdue(at=late) == 1


def test_a_revocation_stays_as_it_was_and_is_in_the_list_until_the_certificate_expires(store: Store) -> None:
    what = issue(store, intent())
    before = store.inventory.revocations("a1", at=AT)
    first = store.inventory.revoke(what.serial, RevocationReason.KEY_COMPROMISE, by=BY, at=AT).result()
    again = store.inventory.revoke(what.serial, RevocationReason.UNSPECIFIED, by=BY, at=AT + HOUR).result()
    assert first == again
    after = store.inventory.revocations("a1", at=AT)
    assert after.number > before.number
    assert [(row.serial, row.revocation.reason) for row in after.revoked] == [
        (what.serial, RevocationReason.KEY_COMPROMISE)
    ]
    assert store.inventory.revocations("a1", at=AT + HOUR).revoked == ()
    assert store.inventory.revocations("other", at=AT).revoked == ()
    with pytest.raises(NotKeptError):
        store.inventory.revoke("0", RevocationReason.UNSPECIFIED, by=BY, at=AT).result()


def test_what_is_pruned_is_only_what_has_expired_and_the_audit_still_holds(store: Store) -> None:
    old, young = issue(store, intent(ttl=HOUR)), issue(store, intent(ttl=DAY))
    head = store.audit.head()
    assert store.inventory.prune(expired_before=AT + 2 * HOUR, by=BY, at=AT + 3 * HOUR) == 1
    assert [row.intent for row in store.inventory.list(InventoryFilter(), at=AT).rows] == [young]
    assert store.audit.verify(kept=[head]).number == head.number + 1
    assert old.serial in {row.event.serial for row in store.audit.list().rows}
    with pytest.raises(ValueError, match="may be valid"):
        store.inventory.prune(expired_before=AT + 4 * HOUR, by=BY, at=AT + 3 * HOUR)


def test_a_clock_that_went_back_issues_nothing(url: str, store: Store) -> None:
    issue(store, intent(), at=AT)
    store.inventory.intend(intent(), at=AT - timedelta(seconds=5)).result()
    with Store.open(url) as other:
        for one in (store, other):
            with pytest.raises(ClockError):
                one.inventory.intend(intent(), at=AT - timedelta(minutes=1)).result()


# Answers that are repeated


def answer(
    key: str = "k1", content: bytes = b"chain", request: bytes = b"r" * 32, ends: datetime = AT + 9 * DAY
) -> Answer:
    return Answer("caller", key, request, content, ends)


def test_a_repeated_request_gets_the_same_answer_for_a_day(store: Store) -> None:
    what = intent()
    store.inventory.intend(what, at=AT).result()
    assert store.inventory.recall("caller", "k1", b"r" * 32, at=AT) is None
    assert store.inventory.complete_once(what, answer(), at=AT).result() == b"chain"
    assert store.inventory.recall("caller", "k1", b"r" * 32, at=AT + DAY - HOUR) == b"chain"
    assert store.inventory.recall("caller", "k1", b"r" * 32, at=AT + DAY) is None
    assert store.inventory.recall("somebody else", "k1", b"r" * 32, at=AT) is None
    with pytest.raises(StoreConflictError, match="another request"):
        store.inventory.recall("caller", "k1", b"x" * 32, at=AT)
    later = intent(at=AT + DAY)
    store.inventory.intend(later, at=AT + DAY).result()
    assert store.inventory.complete_once(later, answer(content=b"new"), at=AT + DAY).result() == b"new"


def test_an_answer_that_has_expired_is_not_repeated(store: Store) -> None:
    what = intent()
    store.inventory.intend(what, at=AT).result()
    store.inventory.complete_once(what, answer(ends=AT + HOUR), at=AT).result()
    assert store.inventory.recall("caller", "k1", b"r" * 32, at=AT + HOUR - timedelta(seconds=1)) == b"chain"
    assert store.inventory.recall("caller", "k1", b"r" * 32, at=AT + HOUR) is None
    later = intent(at=AT + HOUR)
    store.inventory.intend(later, at=AT + HOUR).result()
    assert store.inventory.complete_once(later, answer(content=b"new"), at=AT + HOUR).result() == b"new"


def test_requests_of_one_key_at_the_same_time_release_one_certificate(url: str, store: Store) -> None:
    with Store.open(url) as other, ThreadPoolExecutor(16) as pool:

        def request(number: int) -> bytes:
            one = (store, other)[number % 2]
            what = intent()
            one.inventory.intend(what, at=AT).result()
            return one.inventory.complete_once(what, answer(content=b"%d" % number), at=AT).result()

        assert len(set(pool.map(request, range(64)))) == 1
    assert len(store.inventory.list(InventoryFilter(state=IssuedState.VALID), at=AT).rows) == 1
    what = intent()
    store.inventory.intend(what, at=AT).result()
    with pytest.raises(StoreConflictError, match="another request"):
        store.inventory.complete_once(what, answer(request=b"x" * 32), at=AT).result()


# Crashes

ISSUE = """
import asyncio, os, signal, sys
from datetime import UTC, datetime, timedelta
from uuid import uuid4
from sqlalchemy import event
from ca.authorities import Authorities
from ca.inventory import Intent, IssuedKind
from ca.store import Store
from identity import Bundle, JwtAuthority, SpiffeId, TrustDomain

url, point, left = sys.argv[1], sys.argv[2], int(sys.argv[3])
AT = datetime(2030, 1, 1, 12, tzinfo=UTC)
TD = TrustDomain("example.org")

def reached(here):
    global left
    if here == point:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

store = Store.open(url)
event.listen(store._database._writing, "commit", lambda connection: reached("commit"))

async def issue():
    while True:
        intent = Intent(uuid4().hex, SpiffeId(TD, "/w"), IssuedKind.X509, "a", AT, AT + timedelta(hours=1), None, None, "c")
        reached("intend")
        await store.inventory.intend(intent, at=AT)
        reached("sign")
        await store.inventory.complete(intent, at=AT)
        reached("release")
        os.write(1, f"released {intent.serial}\\n".encode())

async def step():
    while True:
        before = store.authorities.load(TD)
        sequence = 1 if before is None else before.authorities.sequence + 1
        await store.authorities.save(Authorities(TD, sequence), before=before, by="c", action="step", at=AT)
        os.write(1, f"sequence {sequence}\\n".encode())

async def main():
    await asyncio.gather(step(), *(issue() for _ in range(8)))

asyncio.run(main())
"""


@pytest.mark.parametrize("point", ["intend", "sign", "commit", "release", "any"])
def test_nothing_that_was_released_is_missing_after_a_crash(url: str, point: str) -> None:
    random = Random(point)
    released: set[str] = set()
    sequence = 0
    for _ in range(2):
        command = [sys.executable, "-c", ISSUE, url, point, str(random.randint(1, 40))]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  # ourselves
            assert process.stdout is not None
            lines = [process.stdout.readline()]
            if point == "any":
                time.sleep(random.uniform(0, 0.5))
                process.kill()
            lines += process.stdout.readlines()
        assert process.returncode == -signal.SIGKILL
        said = [line.split() for line in lines if line.endswith("\n")]
        released |= {value for what, value in said if what == "released"}
        told = [int(value) for what, value in said if what == "sequence"]
        assert told == sorted(set(told))
        assert not told or told[0] > sequence
        sequence = max([sequence, *told])
        with Store.open(url) as store:
            kept = store.authorities.load(TD)
            assert kept is None or kept.authorities.sequence >= sequence
            sequence = 0 if kept is None else kept.authorities.sequence
            for serial in released:
                assert store.inventory.get(serial).state(AT) is IssuedState.VALID
            head = store.audit.verify()
            audited, after = set(), None
            while True:
                page = store.audit.list(size=1000, after=after)
                audited |= {row.event.serial for row in page.rows}
                after = page.next
                if after is None:
                    break
            assert released <= audited
            assert store.audit.verify(kept=[head]) == head
    assert released or point in {"intend", "sign", "release"}


# Signing authorities


def slot(identifier: str, phase: Phase = Phase.ACTIVE) -> Slot:
    return Slot(
        id=identifier,
        kind=SlotKind.ROOT,
        phase=phase,
        pace=Pace.SCHEDULED,
        public=b"der",
        key_name="root-0123456789abcdef",
        issuer=None,
        published=1,
        made=AT,
        not_before=AT,
        not_after=AT + DAY,
        activated=AT,
    )


def test_authorities_come_back_as_they_were_and_in_their_order(store: Store) -> None:
    assert store.authorities.load(TD) is None
    first = Authorities(TD, 1, (slot("b"), slot("a", Phase.PREPARED)), AT)
    version = store.authorities.save(first, before=None, by=BY, action="init", at=AT).result()
    assert store.authorities.load(TD) == version
    assert version.authorities == first
    second = replace(first, sequence=2, slots=(slot("a"),))
    store.authorities.save(second, before=version, by=BY, action="step", at=AT).result()
    kept = store.authorities.load(TD)
    assert kept is not None
    assert kept.authorities == second


def test_of_two_who_step_at_once_one_is_told_to_look_again(url: str, store: Store) -> None:
    before = store.authorities.save(Authorities(TD, 1, (slot("a"),)), before=None, by=BY, action="init", at=AT).result()
    with Store.open(url) as other:
        changed = Authorities(TD, 2, (slot("a"), slot("b", Phase.PREPARED)))
        pending = [one.authorities.save(changed, before=before, by=BY, action="step", at=AT) for one in (store, other)]
        failed = 0
        for one in pending:
            try:
                one.result()
            except StoreConflictError:
                failed += 1
        assert failed == 1


def test_the_sequence_of_the_bundle_never_falls_and_changes_with_it(store: Store) -> None:
    before = store.authorities.save(Authorities(TD, 5, (slot("a"),)), before=None, by=BY, action="init", at=AT).result()
    for changed in (Authorities(TD, 4, (slot("a"),)), Authorities(TD, 5, (slot("a"), slot("b")))):
        with pytest.raises(StoreConflictError):
            store.authorities.save(changed, before=before, by=BY, action="step", at=AT).result()
    assert store.authorities.load(TD) == before


def test_what_a_consumer_holds_is_never_taken_back(store: Store) -> None:
    for sequence, at in ((3, AT), (2, AT + HOUR)):
        store.authorities.acknowledge("envoy", sequence, at=at).result()
    store.authorities.acknowledge("gone", 1, at=AT).result()
    assert store.authorities.acknowledged(since=AT) == {"envoy": 3, "gone": 1}
    assert store.authorities.acknowledged(since=AT + HOUR) == {"envoy": 3}


# The audit chain


def events(store: Store, count: int) -> AuditHead:
    for one in [store.audit.append(AuditEvent(AT, BY, f"act {n}", Outcome.DONE)) for n in range(count)]:
        one.result()
    return store.audit.head()


def unfenced(url: str) -> tuple[str, ...]:
    if url.startswith("sqlite"):
        return ("DROP TRIGGER audit_no_update", "DROP TRIGGER audit_no_delete")
    return ("DROP TRIGGER audit_no_change ON audit",)


def test_the_chain_is_whole_after_many_have_written_to_it_at_once(url: str, store: Store) -> None:
    assert store.audit.verify() == EMPTY
    with Store.open(url) as other, ThreadPoolExecutor(8) as pool:

        def append(number: int) -> None:
            (store, other)[number % 2].audit.append(AuditEvent(AT, BY, f"act {number}", Outcome.DONE)).result()

        list(pool.map(append, range(100)))
    assert store.audit.verify().number == 100


@pytest.mark.parametrize(
    ("change", "row"),
    [
        ("UPDATE audit SET actor = 'nobody' WHERE number = 4", 4),
        ("UPDATE audit SET at = at + 1 WHERE number = 1", 1),
        ("UPDATE audit SET hash = (SELECT hash FROM audit WHERE number = 2) WHERE number = 9", 9),
        ("DELETE FROM audit WHERE number = 6", 6),
        ("DELETE FROM audit WHERE number > 7", 8),
    ],
)
def test_a_changed_chain_is_broken_at_the_row_that_was_changed(url: str, store: Store, change: str, row: int) -> None:
    events(store, 10)
    with pytest.raises(Exception, match="only ever appended to"):
        behind(url, change)
    behind(url, *unfenced(url), change)
    with pytest.raises(BrokenAuditError) as broken:
        store.audit.verify()
    assert broken.value.number == row


def test_an_end_that_was_cut_off_with_its_head_shows_against_a_head_that_was_kept(url: str, store: Store) -> None:
    kept = events(store, 10)
    behind(
        url,
        *unfenced(url),
        "UPDATE heads SET value = 7, hash = (SELECT hash FROM audit WHERE number = 7) WHERE name = 'audit'",
        "DELETE FROM audit WHERE number > 7",
    )
    assert store.audit.verify().number == 7
    with pytest.raises(BrokenAuditError) as broken:
        store.audit.verify(kept=[AuditHead.parse(str(kept))])
    assert broken.value.number == 8


def test_what_strangers_say_is_kept_printable(store: Store) -> None:
    store.audit.append(AuditEvent(AT, "a\x00b\nroot", "x", Outcome.REFUSED, reason="\ud800")).result()
    (row,) = store.audit.list().rows
    assert row.event.actor == "a\\x00b\\nroot"
    store.audit.verify()


# Bundles of others


def foreign(name: str = "other.example", *, sequence: int | None = 1, keys: int = 1) -> Bundle:
    authorities = tuple(JwtAuthority(f"k{number}", FOREIGN_KEY) for number in range(keys))
    return Bundle(TrustDomain(name), (), authorities, sequence, timedelta(minutes=5))


def test_bundles_of_others_are_kept_each_by_itself(url: str, store: Store) -> None:
    first, second = foreign(), foreign("third.example", sequence=2**70)
    assert store.federation.keep(second, by=BY, at=AT).result()
    assert store.federation.keep(first, by=BY, at=AT).result()
    newer = foreign(sequence=2, keys=2)
    assert store.federation.keep(newer, by=BY, at=AT).result()
    assert not store.federation.keep(newer, by=BY, at=AT + HOUR).result()
    with Store.open(url) as other:
        assert other.federation.load() == (newer, second)
    said = [(row.event.subject, row.event.reason) for row in store.audit.list().rows]
    assert said == [
        ("third.example", f"sequence {2**70}: 0 roots, 1 JWT keys"),
        ("other.example", "sequence 1: 0 roots, 1 JWT keys"),
        ("other.example", "sequence 2: 0 roots, 2 JWT keys"),
    ]


@pytest.mark.parametrize("older", [6, None])
def test_a_bundle_of_others_never_goes_back_until_it_is_forgotten(store: Store, older: int | None) -> None:
    store.federation.keep(foreign(sequence=7), by=BY, at=AT).result()
    with pytest.raises(StoreConflictError, match="7"):
        store.federation.keep(foreign(sequence=older, keys=2), by=BY, at=AT).result()
    assert store.audit.list().rows[-1].event.outcome is Outcome.REFUSED
    assert store.federation.load() == (foreign(sequence=7),)
    store.federation.forget(TrustDomain("other.example"), by=BY, at=AT).result()
    assert store.federation.load() == ()
    store.federation.keep(foreign(sequence=older, keys=2), by=BY, at=AT).result()
    with pytest.raises(NotKeptError):
        store.federation.forget(TrustDomain("nobody.example"), by=BY, at=AT).result()
    store.audit.verify()


# Backups


def test_a_backup_restores_everything_into_either_database(new_url: Urls, tmp_path: Path) -> None:
    target = tmp_path / "backup"
    with Store.open(new_url()) as store:
        kept = store.entries.create(entry(), by=BY, at=AT).result()
        token = store.tokens.create(WEB, ttl=HOUR, by=BY, at=AT).result()
        what = issue(store, intent())
        store.inventory.revoke(what.serial, RevocationReason.SUPERSEDED, by=BY, at=AT).result()
        store.federation.keep(foreign(), by=BY, at=AT).result()
        version = store.authorities.save(
            Authorities(TD, 1, (slot("a"),), AT), before=None, by=BY, action="init", at=AT
        ).result()
        row, head = store.inventory.get(what.serial), store.audit.head()
        assert store.back_up(target) == head
        with pytest.raises(StoreConflictError):
            store.back_up(target)
    assert target.stat().st_mode & 0o777 == 0o600
    for url in (new_url(), f"sqlite:///{tmp_path}/restored/store.db"):
        with Store.open(url) as store:
            assert store.restore(target) == head
            assert store.audit.verify(kept=[head]) == head
            assert store.entries.entries_for(kept.selectors) == (kept,)
            assert store.inventory.get(what.serial) == row
            assert store.authorities.load(TD) == version
            assert store.federation.load() == (foreign(),)
            assert store.tokens.redeem(token.text, by="x", at=AT).result().spiffe_id == WEB
            issue(store, intent())
            store.entries.create(entry(API), by=BY, at=AT).result()
            with pytest.raises(StoreConflictError):
                store.restore(target)


def test_a_backup_that_was_tampered_with_restores_nothing(new_url: Urls, tmp_path: Path) -> None:
    target = tmp_path / "backup"
    with Store.open(new_url()) as store:
        events(store, 3)
        store.back_up(target)
    behind(
        f"sqlite:///{target}",
        *unfenced("sqlite"),
        "UPDATE audit SET actor = 'x' WHERE number = 2",
    )
    with Store.open(new_url()) as store:
        with pytest.raises(BrokenAuditError):
            store.restore(target)
        (tmp_path / "garbage").write_bytes(b"nothing that anybody wrote" * 100)
        with pytest.raises(StoreUnavailableError):
            store.restore(tmp_path / "garbage")
        assert store.audit.head() == EMPTY
