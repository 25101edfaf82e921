"""Who is behind a call, and how the bytes get through."""

import asyncio
import hashlib
import os
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import grpc
import pytest
import uvloop

from ca.authority import Authority
from ca.errors import AttestationError, ListenError
from ca.front import Context, Front, GrpcServer, RefusedCallError, Service, TlsDoor, TlsPeer, UnixDoor, UnixPeer
from ca.front.pipe import End, join
from ca.front.tls import ServerTls
from identity import SpiffeId, TrustDomain
from tests.unit.ca.others import ask_as, needs_root, open_directory
from tests.unit.ca.waiting import until

Peer = TypeVar("Peer")
TD = TrustDomain("example.org")

EXECUTABLE = Path(sys.executable).resolve()


@asynccontextmanager
async def serving(front: Front[Peer], describe: Callable[[Peer], Awaitable[str]]) -> AsyncIterator[GrpcServer[Peer]]:
    """A server that says who calls it, and one that says everything back."""

    async def who(_request: bytes, context: Context) -> bytes:
        return (await describe(front.peer(context))).encode()

    async def echo(context: Context) -> None:
        while isinstance(message := await context.read(), bytes):
            await context.write(message)

    async def fail(_request: bytes, _context: Context) -> bytes:
        raise ZeroDivisionError("a secret")

    async def refuse(_request: bytes, _context: Context) -> bytes:
        raise RefusedCallError.malformed("odd", "ask otherwise")

    service = Service(name="Test", unary={"Who": who, "Fail": fail, "Refuse": refuse}, streaming={"Echo": echo})
    async with GrpcServer(front, service, grace=0.1) as server:
        yield server


async def selectors(peer: UnixPeer) -> str:
    return " ".join(sorted(map(str, (await peer.attest()).selectors)))


async def ask(address: str, method: str = "Who") -> bytes:
    async with grpc.aio.insecure_channel(address) as channel:
        answer: bytes = await channel.unary_unary(f"/Test/{method}")(b"", timeout=10)
        return answer


async def refusal(address: str, method: str = "Who") -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(address, method)
    return caught.value.code(), caught.value.details() or ""


def files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def unix_front(tmp_path: Path, **limits: int) -> Front[UnixPeer]:
    return Front(UnixDoor(f"unix:{tmp_path}/s", mode=0o777), **limits)


# Who is there


def test_a_call_is_known_by_its_process(tmp_path: Path) -> None:
    async def scene() -> None:
        async with serving(unix_front(tmp_path), selectors) as server:
            said = (await ask(server.address)).decode().split()
        assert f"unix:uid:{os.geteuid()}" in said
        assert f"unix:path:{EXECUTABLE}" in said

    asyncio.run(scene())


@needs_root
def test_users_are_told_apart_and_those_of_nobody_here_are_not_attested() -> None:
    async def scene(directory: Path) -> None:
        async with serving(unix_front(directory), selectors) as server:
            assert f"unix:uid:{os.geteuid()}" in (await ask(server.address)).decode()
            assert "unix:uid:4242" in (await ask_as(4242, server.address, "/Test/Who")).split()
            # What the kernel says where a user is none of ours.
            assert "UNAUTHENTICATED" in await ask_as(65534, server.address, "/Test/Who")

    with open_directory() as directory:
        asyncio.run(scene(directory))


_LEAVE = """
import os, socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
# A child keeps the connection, and the one who connected ends.
if os.fork() == 0:
    sys.stdin.read()
"""


def test_a_process_that_has_ended_is_not_attested(tmp_path: Path) -> None:
    async def scene() -> None:
        front = unix_front(tmp_path)
        async with serving(front, selectors) as server:
            path = server.address.removeprefix("unix:")
            child = await asyncio.create_subprocess_exec(sys.executable, "-c", _LEAVE, path, stdin=subprocess.PIPE)
            await until(lambda: bool(front._peers))
            await child.wait()
            (peer,) = front._peers.values()
            with pytest.raises(AttestationError, match=r"cannot be looked at|has ended"):
                await peer.attest()
            assert child.stdin is not None
            child.stdin.close()
            await until(lambda: not front._peers)

    asyncio.run(scene())


@asynccontextmanager
async def relay(listen: str, dial: str, bind: str) -> AsyncIterator[None]:
    """What listens at one path leads to another, over a socket with a name that looks like the front's."""
    loop = asyncio.get_running_loop()
    leading: list[asyncio.Task[None]] = []

    async def lead_on(end: End) -> None:
        dialing = socket.socket(socket.AF_UNIX)
        dialing.settimeout(0)
        dialing.bind(bind)
        await loop.sock_connect(dialing, dial)
        _, inner = await loop.create_unix_connection(End, sock=dialing)
        await join(end, inner)

    server = await loop.create_unix_server(
        lambda: End(lambda end: leading.append(loop.create_task(lead_on(end)))), listen
    )
    async with server:
        yield
    for task in leading:
        task.cancel()


def test_who_connects_behind_the_door_is_nobody(tmp_path: Path) -> None:
    async def scene() -> None:
        front = unix_front(tmp_path)
        async with serving(front, selectors):
            assert (await refusal(front.inner_address))[0] is grpc.StatusCode.UNAUTHENTICATED
            # The same by a path of one's own.
            async with relay(f"{tmp_path}/relay", front.inner_address.removeprefix("unix:"), f"{tmp_path}/1"):
                assert (await refusal(f"unix:{tmp_path}/relay"))[0] is grpc.StatusCode.UNAUTHENTICATED

    asyncio.run(scene())


def test_only_we_may_enter_where_the_server_listens(tmp_path: Path) -> None:
    async def scene() -> None:
        front = unix_front(tmp_path)
        directory = Path(front.inner_address.removeprefix("unix:")).parent
        async with serving(front, selectors) as server:
            await ask(server.address)
            status = await asyncio.to_thread(directory.stat)
            assert stat.S_IMODE(status.st_mode) == 0o700
        assert not directory.exists()

    asyncio.run(scene())


def test_nothing_is_kept_of_those_who_have_gone(tmp_path: Path) -> None:
    async def scene() -> None:
        front = unix_front(tmp_path)
        async with serving(front, selectors) as server:
            await ask(server.address)
            await until(lambda: not front._peers)
            before = files()
            for _ in range(20):
                await ask(server.address)
            await until(lambda: not (front._peers or front._groups))
            await until(lambda: files() <= before)

    asyncio.run(scene())


def test_many_connections_at_once_and_no_more_than_there_may_be(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        front = unix_front(tmp_path, most=40, most_of_one=30)
        async with serving(front, selectors) as server:
            opened = [await asyncio.open_unix_connection(f"{tmp_path}/s") for _ in range(30)]
            await until(lambda: len(front._peers) == 30)
            for _ in range(3):
                reader, writer = await asyncio.open_unix_connection(f"{tmp_path}/s")
                with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                    await reader.readexactly(1)
                writer.close()
            assert [each.getMessage().partition("; ")[2] for each in caplog.records] == [
                f"those of unix:uid:{os.geteuid()} are turned away"
            ]
            for _, writer in opened:
                writer.close()
            await until(lambda: not front._peers)
            answers = await asyncio.gather(*(ask(server.address) for _ in range(25)))
            assert len(set(answers)) == 1

    asyncio.run(scene())


def test_who_has_left_cannot_be_told_as_who_comes_next(tmp_path: Path) -> None:
    async def scene() -> None:
        front = unix_front(tmp_path)
        async with serving(front, selectors):
            _, writer = await asyncio.open_unix_connection(f"{tmp_path}/s")
            await until(lambda: front._peers)
            (left,) = front._peers.values()
            await left.attest()
            writer.close()
            await until(lambda: not front._peers)
            # By now its descriptor is another's.
            _, successor = await asyncio.open_unix_connection(f"{tmp_path}/s")
            await until(lambda: front._peers)
            with pytest.raises(AttestationError, match="has ended"):
                await left.attest()
            successor.close()

    asyncio.run(scene())


def test_executables_are_hashed_where_that_is_wanted(tmp_path: Path) -> None:
    async def scene() -> None:
        front = Front(UnixDoor(f"unix:{tmp_path}/s", mode=0o777, hash_executable=True))
        async with serving(front, selectors) as server:
            digest = hashlib.sha256(await asyncio.to_thread(EXECUTABLE.read_bytes)).hexdigest()
            assert f"unix:sha256:{digest}" in (await ask(server.address)).decode().split()
            await until(lambda: not front._peers)
            before = files()
            await ask(server.address)
            await until(lambda: files() <= before)

    asyncio.run(scene())


# The bytes


def test_streams_go_both_ways_for_as_long_as_they_like(tmp_path: Path) -> None:
    async def scene() -> None:
        async with (
            serving(unix_front(tmp_path), selectors) as server,
            grpc.aio.insecure_channel(server.address) as channel,
        ):
            call = channel.stream_stream("/Test/Echo")()
            for size in (0, 1, 60_000, 3):
                await call.write(b"x" * size)
                assert len(await call.read()) == size
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF
            assert await call.code() is grpc.StatusCode.OK

    asyncio.run(scene())


def test_a_message_of_more_than_64_kib_is_refused(tmp_path: Path) -> None:
    async def scene() -> None:
        async with (
            serving(unix_front(tmp_path), selectors) as server,
            grpc.aio.insecure_channel(server.address) as channel,
        ):
            call = channel.stream_stream("/Test/Echo")()
            await call.write(b"x" * (64 * 1024 + 1))
            assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    asyncio.run(scene())


def test_what_nobody_foresaw_is_internal_and_says_nothing(tmp_path: Path) -> None:
    async def scene() -> None:
        async with serving(unix_front(tmp_path), selectors) as server:
            code, text = await refusal(server.address, "Fail")
            assert code is grpc.StatusCode.INTERNAL
            assert "secret" not in text
            assert await refusal(server.address, "Refuse") == (grpc.StatusCode.INVALID_ARGUMENT, "ask otherwise")
            assert (await refusal(server.address, "Missing"))[0] is grpc.StatusCode.UNIMPLEMENTED

    asyncio.run(scene())


async def pair() -> tuple[socket.socket, End]:
    ours, theirs = socket.socketpair()
    ours.settimeout(0)
    _, end = await asyncio.get_running_loop().create_unix_connection(End, sock=theirs)
    return ours, end


RUNNERS = [asyncio.run, uvloop.run]
"""The loop of Python, and the one that the authority is served by."""


@pytest.mark.parametrize("run", RUNNERS)
def test_what_comes_before_it_leads_anywhere_is_passed_on(
    run: Callable[[Coroutine[object, object, None]], None],
) -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        (one, left), (other, right) = await pair(), await pair()
        await loop.sock_sendall(one, b"early")
        one.shutdown(socket.SHUT_WR)
        await loop.sock_sendall(other, b"early, too")
        await asyncio.sleep(0.05)
        joining = asyncio.create_task(join(left, right))
        assert await loop.sock_recv(other, 100) == b"early"
        assert await loop.sock_recv(other, 100) == b""
        assert await loop.sock_recv(one, 100) == b"early, too"
        other.close()
        assert await loop.sock_recv(one, 100) == b""
        await asyncio.wait_for(joining, 5)
        one.close()

    run(scene())


def test_who_has_said_all_still_hears_the_rest() -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        (one, left), (other, right) = await pair(), await pair()
        joining = asyncio.create_task(join(left, right))
        await loop.sock_sendall(one, b"question")
        one.shutdown(socket.SHUT_WR)
        assert await loop.sock_recv(other, 100) == b"question"
        assert await loop.sock_recv(other, 100) == b""
        await loop.sock_sendall(other, b"answer")
        assert await loop.sock_recv(one, 100) == b"answer"
        other.close()
        assert await loop.sock_recv(one, 100) == b""
        await asyncio.wait_for(joining, 5)
        one.close()

    asyncio.run(scene())


def test_when_one_is_reset_the_other_hears_of_it() -> None:
    async def scene() -> None:
        (one, left), (other, right) = await pair(), await pair()
        joining = asyncio.create_task(join(left, right))
        one.close()
        other.close()
        await asyncio.wait_for(joining, 5)

    asyncio.run(scene())


def test_who_does_not_read_fills_no_memory() -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        (one, left), (other, right) = await pair(), await pair()
        joining = asyncio.create_task(join(left, right))
        sent = 0
        with suppress(TimeoutError):
            while sent < 16 * 1024 * 1024:
                async with asyncio.timeout(1):
                    await loop.sock_sendall(one, b"x" * 65536)
                sent += 65536
        # What the kernel holds of two sockets, and what we do of either way.
        assert sent < 4 * 1024 * 1024
        one.close()
        other.close()
        await asyncio.wait_for(joining, 5)

    asyncio.run(scene())


# The socket file


def test_the_socket_file_has_the_mode_that_it_is_to_have(tmp_path: Path) -> None:
    for mode in (0o777, 0o660):
        door = UnixDoor(f"unix:{tmp_path}/s", mode=mode)
        assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == mode
        door.close()
        door.close()
        assert not (tmp_path / "s").exists()


def test_what_a_killed_server_left_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    # The address as SPIFFE_ENDPOINT_SOCKET has it.
    door = UnixDoor(f"unix://{path}", mode=0o660)
    with pytest.raises(ListenError, match="another server does"):
        UnixDoor(f"unix:{path}", mode=0o660)
    door.close()
    path.write_text("somebody's")
    with pytest.raises(ListenError, match="no socket"):
        UnixDoor(f"unix:{path}", mode=0o660)
    assert path.read_text() == "somebody's"


def test_a_successors_socket_stays(tmp_path: Path) -> None:
    path = tmp_path / "s"
    door = UnixDoor(f"unix:{path}", mode=0o660)
    path.unlink()
    successor = UnixDoor(f"unix:{path}", mode=0o660)
    door.close()
    assert path.exists()
    successor.close()


def test_where_others_may_write_nothing_listens(tmp_path: Path) -> None:
    for mode in (0o777, 0o1777, 0o770):
        tmp_path.chmod(mode)
        with pytest.raises(ListenError, match="others may write"):
            UnixDoor(f"unix:{tmp_path}/s", mode=0o660)
    (tmp_path / "below").mkdir(mode=0o755)
    tmp_path.chmod(0o777)
    with pytest.raises(ListenError, match="others may write"):
        UnixDoor(f"unix:{tmp_path}/below/s", mode=0o660)


@pytest.mark.parametrize("address", ["unix:", "unix:s", "unix:/", "/s", "127.0.0.1:0", "unix://s", "unix:/tmp/"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ListenError, match="an address is"):
        UnixDoor(address, mode=0o660)


def test_a_directory_that_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(ListenError, match="No such file"):
        UnixDoor(f"unix:{tmp_path}/missing/s", mode=0o660)
    with pytest.raises(ListenError, match="too long"):
        UnixDoor(f"unix:{tmp_path}/{'x' * 100}", mode=0o660)


# TLS


@pytest.mark.parametrize("run", RUNNERS)
def test_tls_tells_the_certificate_and_the_address_and_follows_what_is_in_use(
    run: Callable[[Coroutine[object, object, None]], None],
) -> None:
    at = datetime.now(UTC)
    authorities = [Authority.create(TD, at=at) for _ in range(2)]
    servers = [each.issue_with_new_key(SpiffeId(TD, "/ca"), at=at, dns_names=("localhost",)) for each in authorities]
    turn = 0
    tls = ServerTls(lambda: servers[turn], lambda: authorities[turn].bundle)

    async def scene() -> None:
        nonlocal turn
        front = Front(TlsDoor("127.0.0.1", 0, tls))

        async def describe(peer: object) -> str:
            assert isinstance(peer, TlsPeer)
            serial = peer.certificate and peer.certificate.serial_number
            return f"{peer.address} {serial}"

        async with serving(front, describe) as server:
            target = server.address.replace("127.0.0.1", "localhost")
            for turn in (0, 1):
                authority = authorities[turn]
                workload = authority.issue_with_new_key(SpiffeId(TD, "/web"), at=at)
                roots = authority.bundle.to_pem()
                pair = (workload.private_key_to_unencrypted_pem(), workload.chain_to_pem())
                for credentials, serial in (
                    (grpc.ssl_channel_credentials(roots), None),
                    (grpc.ssl_channel_credentials(roots, *pair), workload.leaf.serial_number),
                ):
                    async with grpc.aio.secure_channel(target, credentials) as channel:
                        answer = await channel.unary_unary("/Test/Who")(b"", timeout=10)
                        assert answer.decode() == f"127.0.0.1 {serial}"
                        call = channel.stream_stream("/Test/Echo")()
                        await call.write(b"x" * 50_000)
                        assert len(await call.read()) == 50_000
                        await call.done_writing()
                        assert await call.read() is grpc.aio.EOF

    run(scene())


def test_a_port_that_is_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ListenError, match="in use"):
        TlsDoor("127.0.0.1", taken.getsockname()[1], object())  # type: ignore[arg-type]  # it does not get that far
