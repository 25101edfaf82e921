"""What only the embedded store, or its writer, keeps to."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from ca.audit import AuditEvent, Outcome
from ca.entries import Entry
from ca.errors import NotKeptError, StoreUnavailableError
from ca.selector import Selector
from ca.store import Store, committing, migrating
from identity import SpiffeId

AT = datetime(2030, 1, 1, tzinfo=UTC)
EVENT = AuditEvent(AT, "a", "b", Outcome.DONE)


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "store.db"
    with Store.open(f"sqlite:///{path}") as store:
        store.audit.append(EVENT).result()
        modes = {child.stat().st_mode & 0o777 for child in path.parent.iterdir()}
    assert modes == {0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_file_or_directory_that_is_open_to_others_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "new" / "store.db"
    Store.open(f"sqlite:///{path}").close()
    for place, mode, right in ((path, 0o640, 0o600), (path.parent, 0o755, 0o700)):
        place.chmod(mode)
        with pytest.raises(StoreUnavailableError, match="open to others"):
            Store.open(f"sqlite:///{path}")
        place.chmod(right)
    Store.open(f"sqlite:///{path}").close()


def test_a_link_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").touch(0o600)
    (tmp_path / "store.db").symlink_to(tmp_path / "other")
    with pytest.raises(StoreUnavailableError):
        Store.open(f"sqlite:///{tmp_path}/store.db")


def test_a_file_that_is_no_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(b"somebody else's" * 100)
    path.chmod(0o600)
    with pytest.raises(StoreUnavailableError, match="not a database"):
        Store.open(f"sqlite:///{path}")
    assert path.read_bytes() == b"somebody else's" * 100


@pytest.mark.parametrize(
    "url", ["", "x", "sqlite://", "sqlite:///:memory:", "mysql://u:secret@h/d", "http://u:secret@h"]
)
def test_a_url_of_nothing_that_keeps_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(StoreUnavailableError) as refused:
        Store.open(url)
    assert "secret" not in str(refused.value)


def test_a_database_that_is_not_there_is_named_without_its_password() -> None:
    with pytest.raises(StoreUnavailableError) as refused:
        Store.open("postgresql://meshward:secret@127.0.0.1:1/none?connect_timeout=2")
    assert "127.0.0.1:1" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_commit_is_not_put_off_for_longer_than_it_may_be(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="put off"):
        Store.open(f"sqlite:///{tmp_path}/store.db", gather=timedelta(milliseconds=6))


def test_a_task_that_no_longer_waits_disturbs_nobody(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path}/store.db") as store:

        async def wait() -> None:
            await store.audit.append(EVENT)

        async def run() -> None:
            tasks = [asyncio.create_task(wait()) for _ in range(50)]
            await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            await asyncio.gather(*tasks[1::2])

        asyncio.run(run())
        assert store.audit.verify().number == 50


def test_what_was_submitted_is_committed_before_the_store_closes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    with Store.open(url) as store:
        pending = [store.audit.append(EVENT) for _ in range(300)]
    for one in pending:
        one.result()
    with Store.open(url) as store:
        assert store.audit.verify().number == 300


def test_the_newest_revision_is_that_of_the_newest_script(tmp_path: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrating.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_current_head() == migrating.HEAD
    with Store.open(f"sqlite:///{tmp_path}/store/store.db") as store:
        assert store.audit.head().number == 0


def test_what_nobody_waits_for_goes_with_what_somebody_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups = counted_groups(monkeypatch)
    monkeypatch.setattr(committing, "PATIENCE", timedelta(minutes=1))
    with Store.open(f"sqlite:///{tmp_path}/store.db") as store:
        noted = store.authorities.acknowledge("envoy", 3, at=AT)
        time.sleep(0.1)  # in which it would have been written by itself
        store.audit.append(EVENT).result()
        noted.result()
        assert store.authorities.acknowledged(since=AT) == {"envoy": 3}
    assert groups == [2]


def test_what_nobody_waits_for_is_written_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups = counted_groups(monkeypatch)
    with Store.open(f"sqlite:///{tmp_path}/store.db") as store:
        store.authorities.acknowledge("envoy", 3, at=AT).result()
        monkeypatch.setattr(committing, "PATIENCE", timedelta(minutes=1))
        store.authorities.acknowledge("ztunnel", 3, at=AT)
    # Closing it did not wait for the minute to pass.
    with Store.open(f"sqlite:///{tmp_path}/store.db") as store:
        assert store.authorities.acknowledged(since=AT) == {"envoy": 3, "ztunnel": 3}
    assert groups == [1, 1]


def counted_groups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pieces of work each commit has from now on."""
    groups: list[int] = []
    attempt = committing.Writer._attempt

    def counted(writer: committing.Writer, jobs: list[committing._Job]) -> list[object]:
        groups.append(len(jobs))
        return attempt(writer, jobs)

    monkeypatch.setattr(committing.Writer, "_attempt", counted)
    return groups


def test_who_waits_in_whatever_way_hears_the_same(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path}/store.db") as store:
        failing = store.entries.delete("none", by="a", at=AT)
        heard: list[BaseException] = []
        failing.on_failure(heard.append)
        with ThreadPoolExecutor(4) as threads:
            raised = [each.exception() for each in [threads.submit(failing.result) for _ in range(4)]]
        failing.on_failure(heard.append)

        async def wait() -> None:
            await failing

        with pytest.raises(NotKeptError) as refused:
            asyncio.run(wait())
        assert {*map(id, raised), *map(id, heard)} == {id(refused.value)}
        assert len(heard) == 2

        done = store.audit.append(EVENT)
        assert done.result() is None
        done.on_failure(heard.append)
        assert len(heard) == 2


def test_who_cannot_be_told_does_not_stop_the_writer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def tell(error: BaseException) -> None:
        raise RuntimeError("nobody is there") from error

    with Store.open(f"sqlite:///{tmp_path}/store.db") as store:
        failing = store.entries.delete("none", by="a", at=AT)
        failing.on_failure(tell)
        with pytest.raises(NotKeptError):
            failing.result()
        failing.on_failure(tell)
        store.audit.append(EVENT).result()
    assert [record.message for record in caplog.records] == ["that something was not written could not be told"] * 2


def test_entries_that_the_watcher_has_looked_at_are_not_looked_at_for_a_request(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    pod = frozenset({Selector("k8s", "ns:shop")})
    with Store.open(url, fresh=timedelta(hours=1)) as here, Store.open(url) as there:
        assert here.entries.entries_for(pod) == ()
        made = there.entries.create(Entry.new(SpiffeId.parse("spiffe://td.example/web"), pod, at=AT), by="a", at=AT)
        entry = made.result()
        assert here.entries.entries_for(pod) == ()
        here.entries.revision()
        assert here.entries.entries_for(pod) == (entry,)
