"""Workers: processes that answer on one port or each on a socket, all by the same snapshot, because one process has one core.

The first process loads the manifests, watches them, and hands what changed to its workers. It waits for none of them: one that
hangs is behind, and the others are not. A worker that dies is started again; workers whose first process dies end.
"""

import argparse
import asyncio
import logging
import multiprocessing
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from ctypes import Array, c_char
from dataclasses import replace
from enum import Enum
from multiprocessing.context import SpawnProcess
from multiprocessing.sharedctypes import RawArray
from typing import BinaryIO

import uvloop

from cli.answering import Answering, Versions, decision_log
from cli.command import CommandError, UsageError
from extauthz.metrics import Answerer
from extauthz.server import UNIX, ListenError, Port, parse_port
from extauthz.tally import SIZE, Tally
from mesh.handover import pieces, received
from mesh.heap import use_one_arena
from mesh.replacing import freeze, let_go, short_turns
from mesh.snapshot import Snapshot

__all__ = ["Workers", "addresses"]

_logger = logging.getLogger("meshward")
# A forked process would inherit threads of gRPC in a state that nobody knows.
_spawn = multiprocessing.get_context("spawn")
_PAUSE = 1.0
_LAST_STEPS = 5.0


@contextmanager
def addresses(address: str, count: int) -> Iterator[Sequence[str]]:
    """Where each of `count` workers is to listen: all on one port, which nobody else gets meanwhile, or each on a Unix socket.

    Raises:
        UsageError: `address` is none, or is taken.
    """
    if address.startswith(UNIX):
        yield [f"{address}.{number}" for number in range(count)]
        return
    with _reserved(address) as reserved:
        host, port = reserved.getsockname()[:2]
        yield [f"[{host}]:{port}" if ":" in host else f"{host}:{port}"] * count


def _reserved(address: str) -> socket.socket:
    """A port that is bound, and not listened on."""
    try:
        host, port = parse_port(address)
    except ListenError as error:
        raise UsageError(str(error)) from error
    reserved = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind((host, port))
    except OSError as error:
        reserved.close()
        raise UsageError(f"cannot listen on {address}: {error.strerror}") from error
    return reserved


class Workers:
    """Processes that answer at `addresses`, one each, by the versions that they were told of last."""

    def __init__(self, arguments: argparse.Namespace, addresses: Sequence[str], versions: Versions) -> None:
        self._drain: float = arguments.drain
        self._workers = [
            _Worker(number, argparse.Namespace(**{**vars(arguments), "listen": address}), versions)
            for number, address in enumerate(addresses)
        ]
        self._keeping: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start them all, and wait until they answer.

        Raises:
            CommandError: One did not come up.
        """
        try:
            await asyncio.gather(*(worker.start() for worker in self._workers))
        except CommandError:
            await self.stop()
            raise
        self._keeping = [asyncio.create_task(worker.keep()) for worker in self._workers]

    def take(self, versions: Versions) -> None:
        """Have all answer by these; they do so one moment later."""
        for worker in self._workers:
            worker.take(versions)

    def answerers(self) -> Sequence[Answerer]:
        """All of them, as they are now."""
        return [worker.seen for worker in self._workers]

    async def stop(self) -> None:
        """Let all answer what is open, and end."""
        for task in self._keeping:
            task.cancel()
        await asyncio.gather(*(worker.stop(within=self._drain + _LAST_STEPS) for worker in self._workers))


class _Role(Enum):
    """What a worker has a snapshot for, as it is said before one is sent."""

    ENFORCED = b"E"
    SHADOW = b"S"


def _by_role(versions: Versions) -> dict[_Role, Snapshot]:
    enforced = {_Role.ENFORCED: versions.enforced}
    return enforced if versions.shadow is None else {**enforced, _Role.SHADOW: versions.shadow}


class _Worker:
    """The first process's end of one worker, and of those that follow it when it dies."""

    def __init__(self, number: int, arguments: argparse.Namespace, versions: Versions) -> None:
        self._number = number
        self._arguments = arguments
        self._wanted = versions
        self._news = asyncio.Event()
        self._memory = RawArray(c_char, SIZE)
        self._tally = Tally(memoryview(self._memory))
        self._process: SpawnProcess | None = None
        self._ended = asyncio.Event()
        self._revisions: dict[_Role, str] = {}
        self._restarts = 0
        self._feeding: asyncio.Task[None] | None = None

    @property
    def seen(self) -> Answerer:
        """The process that it is now."""
        process = self._process
        return Answerer(
            name=f"worker-{self._number}",
            pid=None if process is None or self._ended.is_set() else process.pid,
            tally=self._tally,
            revision=self._revisions.get(_Role.ENFORCED, ""),
            shadow=self._revisions.get(_Role.SHADOW, ""),
            restarts=self._restarts,
        )

    def take(self, versions: Versions) -> None:
        """Have it answer by these as soon as it can; what it was to answer by before it could is left out."""
        self._wanted = versions
        self._news.set()

    async def start(self) -> None:
        """Start a process, and wait until it answers.

        Raises:
            CommandError: It did not come up.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            process = _spawn.Process(
                target=_work, args=(theirs, self._arguments, self._memory), name=f"worker {self._number}", daemon=True
            )
            process.start()
        self._process, self._revisions = process, {}
        self._ended.clear()
        loop = asyncio.get_running_loop()
        loop.add_reader(process.sentinel, self._has_ended, process)
        reader, writer = await asyncio.open_connection(sock=ours)
        answers = loop.create_future()
        self._feeding = asyncio.create_task(self._feed(reader, writer, answers))
        if not await answers:
            raise CommandError(f"worker {self._number} did not start; what it printed says why")
        _logger.info("worker %d answers, process %d", self._number, process.pid)

    async def keep(self) -> None:
        """Start another process whenever it ends before it should."""
        while True:
            await self._ended.wait()
            status = None if self._process is None else self._process.exitcode
            _logger.error("worker %d ended with status %s and is started again", self._number, status)
            await asyncio.sleep(_PAUSE)
            self._restarts += 1
            try:
                await self.start()
            except CommandError as error:
                _logger.error("%s", error)  # noqa: TRY400  # the next round tries again

    async def stop(self, *, within: float) -> None:
        """End it, politely, and after so many seconds not."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            async with asyncio.timeout(within):
                await self._ended.wait()
        except TimeoutError:
            _logger.error("worker %d does not end and is killed", self._number)  # noqa: TRY400  # the message is for a person
            self._process.kill()
            await self._ended.wait()
        if self._feeding is not None:
            await self._feeding

    def _has_ended(self, process: SpawnProcess) -> None:
        asyncio.get_running_loop().remove_reader(process.sentinel)
        process.join()
        self._ended.set()
        self._news.set()

    async def _feed(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: asyncio.Future[bool]
    ) -> None:
        """Send one process what it is to answer by, for as long as it lives."""
        has: dict[_Role, Snapshot] = {}
        with suppress(OSError):
            while not self._ended.is_set():
                self._news.clear()
                wanted = _by_role(self._wanted)
                role = next((role for role, snapshot in wanted.items() if snapshot is not has.get(role)), None)
                if role is not None:
                    writer.write(role.value)
                    for piece in pieces(wanted[role], has.get(role)):
                        writer.write(piece)
                        await writer.drain()
                    revision = wanted[role].revision
                    if (await reader.readline()).decode().strip() != revision:
                        break
                    has[role], self._revisions[role] = wanted[role], revision
                elif not answers.done():
                    answers.set_result(True)
                elif not self._ended.is_set():
                    await self._news.wait()
        await self._ended.wait()
        if not answers.done():
            answers.set_result(False)
        writer.close()


def _work(connection: socket.socket, arguments: argparse.Namespace, memory: Array[c_char]) -> None:
    """The whole life of a worker."""
    use_one_arena()
    logging.basicConfig(format="meshward: %(message)s", level=logging.WARNING, stream=sys.stderr)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    # Ctrl-C reaches every process of a terminal; the first one ends the others, in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tally = Tally(memoryview(memory))
    try:
        with decision_log(arguments.decision_log) as log, short_turns(), connection:
            roles = tuple(_Role) if arguments.shadow else (_Role.ENFORCED,)
            uvloop.run(
                _answer(connection, roles, lambda versions: Answering(arguments, versions, log, tally, Port.SHARED))
            )
    except CommandError as error:
        _logger.error("%s", error)  # noqa: TRY400  # the message is for a person
        sys.exit(1)


async def _answer(
    connection: socket.socket, roles: Sequence[_Role], answering_by: Callable[[Versions], Answering]
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    stream = connection.makefile("rb")
    answering = answering_by(await asyncio.to_thread(_first, connection, stream, roles))
    freeze()
    await answering.start()
    # The last of the first is confirmed when there are answers.
    _confirm(connection, _by_role(answering.versions)[roles[-1]])

    def listen() -> None:
        """Take up what comes; the connection ends when the first process is gone, however it went."""
        with suppress(EOFError, OSError):
            while True:
                _replace(answering, connection, stream, loop)
        loop.call_soon_threadsafe(stop.set)

    # Not one of the loop's own threads: those are waited for at the end, and this one waits for a word that may never come.
    threading.Thread(target=listen, daemon=True).start()
    await stop.wait()
    await answering.stop()


def _first(connection: socket.socket, stream: BinaryIO, roles: Sequence[_Role]) -> Versions:
    """The snapshots to begin with: one for each of `roles`, in their order, or again where one was outdated meanwhile."""
    has: dict[_Role, Snapshot] = {}
    while True:
        role = _role(stream)
        has[role] = received(stream, has.get(role))
        if role is roles[-1]:
            return Versions(has[_Role.ENFORCED], has.get(_Role.SHADOW))
        _confirm(connection, has[role])


def _role(stream: BinaryIO) -> _Role:
    """What the snapshot is for that comes next."""
    if not (said := stream.read(1)):
        raise EOFError
    return _Role(said)


def _confirm(connection: socket.socket, snapshot: Snapshot) -> None:
    connection.sendall(f"{snapshot.revision}\n".encode())


def _replace(
    answering: Answering, connection: socket.socket, stream: BinaryIO, loop: asyncio.AbstractEventLoop
) -> None:
    """Wait for a snapshot, and have `answering` answer by it."""
    role = _role(stream)
    outdated = [_by_role(answering.versions)[role]]
    snapshot = received(stream, outdated[0])
    freeze()

    async def take() -> None:
        # The other has not changed meanwhile: what comes, comes one after the other.
        versions = answering.versions
        if role is _Role.ENFORCED:
            answering.take(replace(versions, enforced=snapshot))
        else:
            answering.take(replace(versions, shadow=snapshot))

    asyncio.run_coroutine_threadsafe(take(), loop).result()
    let_go(outdated)
    _confirm(connection, snapshot)
