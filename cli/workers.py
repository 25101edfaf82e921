"""Workers: processes that answer on one port, all by the same snapshot, because one process has one core.

The first process loads the manifests, watches them, and hands what they declare to its workers. A worker that dies is
started again; workers whose first process dies end.
"""

import argparse
import asyncio
import logging
import multiprocessing
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from authz.mesh_config import MeshConfig
from authz.model import Policy
from authz.peer_authentication import PeerAuthentication
from authz.request_authentication import RequestAuthentication
from authz.workload import Workload
from cli.answering import Answering, decision_log
from cli.command import CommandError, UsageError
from extauthz.server import ListenError, Port, parse_port
from mesh.snapshot import Snapshot

__all__ = ["Declared", "Workers", "address_of", "reserve"]

_logger = logging.getLogger("meshward")
# A forked process would inherit threads of gRPC in a state that nobody knows.
_spawn = multiprocessing.get_context("spawn")
_PAUSE = 1.0


@dataclass(frozen=True, slots=True)
class Declared:
    """What a snapshot is made from, fit to be sent to another process."""

    policies: Sequence[Policy]
    peer_authentications: Sequence[PeerAuthentication]
    request_authentications: Sequence[RequestAuthentication]
    workloads: Sequence[Workload]
    config: MeshConfig
    revision: str

    @classmethod
    def by(cls, snapshot: Snapshot) -> "Declared":
        """What `snapshot` was made from."""
        return cls(
            snapshot.policies,
            snapshot.peer_authentications,
            snapshot.request_authentications,
            tuple(snapshot.registry),
            snapshot.config,
            snapshot.revision,
        )

    def snapshot(self) -> Snapshot:
        """The same snapshot, compiled here."""
        return Snapshot(
            policies=self.policies,
            peer_authentications=self.peer_authentications,
            request_authentications=self.request_authentications,
            workloads=self.workloads,
            config=self.config,
            revision=self.revision,
        )


def reserve(address: str) -> socket.socket:
    """A port for all workers: bound, so that nobody else gets it, and not listened on.

    Raises:
        UsageError: `address` is no `host:port`, or is taken.
    """
    try:
        host, port = parse_port(address)
    except ListenError as error:
        raise UsageError(str(error), help="several workers share a port: give `--listen host:port`") from error
    reserved = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind((host, port))
    except OSError as error:
        reserved.close()
        raise UsageError(f"cannot listen on {address}: {error.strerror}") from error
    return reserved


def address_of(reserved: socket.socket) -> str:
    """The address that was reserved, with the real port where 0 was asked for."""
    host, port = reserved.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Workers:
    """`count` processes that answer by what they were sent last."""

    def __init__(self, arguments: argparse.Namespace, count: int, declared: Declared) -> None:
        self._arguments = arguments
        self._count = count
        self._declared = declared
        self._workers: dict[int, _Worker] = {}
        self._keeping: list[asyncio.Task[None]] = []
        self._stopping = False

    async def start(self) -> None:
        """Start them all, and wait until they answer.

        Raises:
            CommandError: One did not come up.
        """
        try:
            await asyncio.gather(*map(self._start, range(self._count)))
        except CommandError:
            await self.stop()
            raise
        self._keeping = [asyncio.create_task(self._keep(number)) for number in range(self._count)]

    async def send(self, declared: Declared) -> None:
        """Have all answer by what is declared now; returns when they do."""
        self._declared = declared
        await asyncio.gather(*(worker.take(declared) for worker in self._workers.values()))

    async def stop(self) -> None:
        """Let all answer what is open, and end."""
        self._stopping = True
        for worker in self._workers.values():
            worker.process.terminate()
        await asyncio.gather(*(worker.ended() for worker in self._workers.values()))
        for task in self._keeping:
            task.cancel()

    async def _start(self, number: int) -> None:
        ours, theirs = _spawn.Pipe()
        process = _spawn.Process(target=_work, args=(theirs, self._arguments), name=f"worker {number}", daemon=True)
        process.start()
        theirs.close()
        worker = self._workers[number] = _Worker(process, ours)
        if not await worker.take(self._declared):
            raise CommandError(f"worker {number} did not start; what it printed says why")
        _logger.info("worker %d answers, process %d", number, process.pid)

    async def _keep(self, number: int) -> None:
        """Start a worker again whenever it ends before it should."""
        while True:
            worker = self._workers[number]
            await worker.ended()
            if self._stopping:
                return
            _logger.error("worker %d ended with status %s and is started again", number, worker.process.exitcode)
            await asyncio.sleep(_PAUSE)
            try:
                await self._start(number)
            except CommandError as error:
                _logger.error("%s", error)  # noqa: TRY400  # the next round tries again


class _Worker:
    """The first process's end of a worker."""

    def __init__(self, process: SpawnProcess, connection: Connection) -> None:
        self.process = process
        self._connection = connection
        self._turn = asyncio.Lock()

    async def take(self, declared: Declared) -> bool:
        """Whether it answers by `declared` now; not if it has died, and then another will."""
        async with self._turn:
            try:
                await asyncio.to_thread(self._connection.send, declared)
                return bool(await asyncio.to_thread(self._connection.recv) == declared.revision)
            except (EOFError, OSError):
                return False

    async def ended(self) -> None:
        """Wait until it has ended."""
        await asyncio.to_thread(self.process.join)


def _work(connection: Connection, arguments: argparse.Namespace) -> None:
    """The whole life of a worker."""
    logging.basicConfig(format="meshward: %(message)s", level=logging.WARNING, stream=sys.stderr)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    # Ctrl-C reaches every process of a terminal; the first one ends the others, in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with decision_log(arguments.decision_log) as log:
            asyncio.run(_answer(connection, lambda snapshot: Answering(arguments, snapshot, log, Port.SHARED)))
    except CommandError as error:
        _logger.error("%s", error)  # noqa: TRY400  # the message is for a person
        sys.exit(1)


async def _answer(connection: Connection, answering_by: Callable[[Snapshot], Answering]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    answering = answering_by((await asyncio.to_thread(connection.recv)).snapshot())
    await answering.start()
    connection.send(answering.snapshot.revision)

    def take(snapshot: Snapshot) -> None:
        answering.take(snapshot)
        connection.send(snapshot.revision)

    def listen() -> None:
        """Take up what comes; the pipe ends when the first process is gone, however it went."""
        with suppress(EOFError, OSError):
            while True:
                loop.call_soon_threadsafe(take, connection.recv().snapshot())
        loop.call_soon_threadsafe(stop.set)

    # Not one of the loop's own threads: those are waited for at the end, and this one waits for a word that may never come.
    threading.Thread(target=listen, daemon=True).start()
    await stop.wait()
    await answering.stop()
