"""The load of the soak: callers of every kind, each on a thread of its own, who note what they did not expect."""

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from random import Random
from types import TracebackType
from typing import Self, TypeVar

import grpc
from cryptography.hazmat.primitives.asymmetric import ec
from envoy.service.auth.v3.external_auth_pb2 import CheckResponse

from tests import questions
from tests.integration.raw_client import RawClient
from tests.integration.serving import CHECK
from tests.integration.test_tokens import token
from tests.soak import mesh

T = TypeVar("T")

PATIENCE = 20.0
"""Seconds within which a loaded machine answers, and takes up a change."""

_PAUSE = 0.004
_CALLS_OF_A_CONNECTION = 500
_OVERSIZE = 300 * 1024
_SETTLING = 2
_AFTER_SETTLING = 5.0
_MOST_SURPRISES = 20


class Changes:
    """When which change was made: what is in force is one of the last."""

    def __init__(self) -> None:
        self.made: list[float] = []

    def possible(self, change: int, *, asked: float) -> bool:
        """Whether a question of that time may be answered by that change."""
        if not 0 <= change < len(self.made) or not mesh.is_good(change):
            return False
        later = next((at for each, at in enumerate(self.made) if each > change and mesh.is_good(each)), asked)
        return asked - later < PATIENCE


class Load:
    """Callers of the server at `address`; what is broken off is broken off at the one `beside` it as well.

    `surprises` is what they did not expect, `taken` when and how long answers took, `rounds` how much each kind has done.
    """

    def __init__(self, address: tuple[str, int], beside: tuple[str, int], changes: Changes) -> None:
        self._address = address
        self._both = address, beside
        self._changes = changes
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.surprises: list[str] = []
        self.taken: list[tuple[float, float]] = []
        self.rounds: Counter[str] = Counter()

    def start(self) -> None:
        """Begin to ask."""
        for kind in (self._http, self._http, self._tokens, self._tcp, self._malformed, self._halves, self._drops):
            thread = threading.Thread(target=self._run, args=(kind,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def settle(self, resets: int) -> None:
        """Reset so many calls before anything is measured.

        A server of gRPC's alone grows fastest in its first few thousand, by 12 MB and more.
        """
        question = questions.http(workload="shop/changing").SerializeToString()

        def reset(_: int) -> None:
            for address in self._both:
                with RawClient(address) as client:
                    client.reset(client.begin(question, 1))
                    client.begin(question, len(question) + 5)

        with ThreadPoolExecutor(_SETTLING) as pool:
            for _ in pool.map(reset, range(resets)):
                pass
        # While it still goes through a flood of these, gRPC cancels calls of others, too.
        self._stop.wait(_AFTER_SETTLING)

    def stop(self) -> None:
        """Let them finish what they have begun."""
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE)

    def _run(self, kind: Callable[[], None]) -> None:
        while not self._stop.is_set():
            try:
                kind()
            except Exception as error:  # noqa: BLE001  # whatever it is, nobody expected it
                self._surprised(f"{kind.__name__}: {error!r}")

    def _surprised(self, what: str) -> None:
        if len(self.surprises) < _MOST_SURPRISES:
            self.surprises.append(what)

    def _paced(self, kind: str, items: Iterable[T]) -> Iterator[T]:
        """As many as one connection is for, with pauses, until the end."""
        for item in islice(cycle(items), _CALLS_OF_A_CONNECTION):
            if self._stop.wait(_PAUSE):
                return
            yield item
            self.rounds[kind] += 1

    def _http(self) -> None:
        """Policies that change: each answer is right for what may be in force, and no connection goes back in time."""
        last = -1
        with _Connection(self._address) as connection:
            for method in self._paced("http", mesh.METHODS):
                asked = time.monotonic()
                answer = connection.ask(questions.http(method, workload="shop/changing").SerializeToString())
                self.taken.append((asked, time.monotonic() - asked))
                change = int(str(answer.dynamic_metadata["policy"]).rpartition("-")[2])
                allowed = answer.status.code == 0
                if allowed is not mesh.is_allowed(change, method) or not self._changes.possible(change, asked=asked):
                    self._surprised(f"{method} is {'allowed' if allowed else 'denied'} by change {change}")
                if change < last:
                    self._surprised(f"an answer is by change {change}, after one by change {last}")
                last = change

    def _tokens(self) -> None:
        forged = token(key=ec.generate_private_key(ec.SECP256R1()))
        expected = ((token(), 0), (token({"exp": 1}), 401), (forged, 401), (None, 403))
        with _Connection(self._address) as connection:
            for bearer, status in self._paced("tokens", expected):
                headers = [] if bearer is None else [("authorization", f"Bearer {bearer}")]
                answer = connection.ask(questions.http(headers=headers).SerializeToString())
                if answer.denied_response.status.code != status:
                    self._surprised(f"a token gets {answer.denied_response.status.code} instead of {status}")

    def _tcp(self) -> None:
        with _Connection(self._address) as connection:
            for port in self._paced("tcp", (8080, 9090)):
                answer = connection.ask(questions.connection(port=port).SerializeToString())
                if (answer.status.code == 0) is not (port == 8080):
                    self._surprised(f"a connection to port {port} gets {answer.status.code}")

    def _malformed(self) -> None:
        """What is no question is denied, and what is too large is refused unread."""
        generator = Random(1)
        with _Connection(self._address) as connection:
            for length in self._paced("malformed", (1, 10, 1000, _OVERSIZE)):
                question = b"\xff" + generator.randbytes(length)
                try:
                    answer = connection.ask(question)
                except grpc.RpcError as error:
                    if length != _OVERSIZE or error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                        raise
                else:
                    if length == _OVERSIZE or answer.dynamic_metadata["stage"] != "none" or answer.status.code == 0:
                        self._surprised(f"nonsense of {length} bytes gets {answer}")

    def _halves(self) -> None:
        """Calls that are reset before or after their question has come, and connections that end meanwhile."""
        question = questions.http(workload="shop/changing").SerializeToString()
        for length in self._paced("halves", (1, 20, len(question) + 5)):
            for address in self._both:
                with RawClient(address) as client:
                    client.reset(client.begin(question, length))
                    client.begin(question, length)

    def _drops(self) -> None:
        """Connections that are opened, and dropped after a few bytes."""
        for sent in self._paced("drops", (b"", b"PRI * HT", b"\x00" * 100, b"GET / HTTP/1.1\r\n\r\n")):
            for address in self._both:
                with socket.create_connection(address, timeout=PATIENCE) as connection:
                    connection.sendall(sent)


class _Connection:
    """A connection of its own, whatever others there are."""

    def __init__(self, address: tuple[str, int]) -> None:
        host, port = address
        self._channel = grpc.insecure_channel(f"{host}:{port}", options=(("grpc.use_local_subchannel_pool", 1),))
        self._call = self._channel.unary_unary(CHECK, response_deserializer=CheckResponse.FromString)

    def ask(self, question: bytes) -> CheckResponse:
        return self._call(question, timeout=PATIENCE, wait_for_ready=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()
