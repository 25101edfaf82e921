"""Calls: what every method of a gRPC server of ours does alike. Its errors become what the caller hears."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import grpc
from google.protobuf.descriptor_pool import Default, DescriptorPool

from ca.errors import AuthorityError
from ca.refusals import Refusal, RefusalKind, refusal_of

__all__ = ["Calls", "Context", "RefusedCallError", "Service", "Streaming", "Unary"]

_logger = logging.getLogger("meshward.ca")

Context: TypeAlias = grpc.aio.ServicerContext
Unary = Callable[[bytes, Context], Awaitable[bytes]]
ServerStreaming = Callable[[bytes, Context], Awaitable[None]]
Streaming = Callable[[Context], Awaitable[None]]

_CODES = {code.value[0]: code for code in grpc.StatusCode}


class RefusedCallError(Exception):
    """A call ends with `refusal`, for something that only its own protocol knows."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.text)
        self.refusal = refusal

    @classmethod
    def malformed(cls, code: str, text: str) -> "RefusedCallError":
        """The caller has to ask otherwise. Clients give up on this, so it is never said of what may pass."""
        return cls(Refusal(RefusalKind.MALFORMED, code, text))


def _uncounted(_: str) -> None:
    """Nobody wants to know."""


async def _as_is(error: AuthorityError, _context: Context) -> Refusal:
    return refusal_of(error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service: its full name, its methods, and where its messages are described, for reflection.

    Methods take and give bytes, so that bytes which are no message are answered and end in no traceback. `refused` says what is heard
    of an error of the authority's, and `count` is told the code of everything that is refused.
    """

    name: str
    unary: Mapping[str, Unary] = field(default_factory=dict)
    server_streaming: Mapping[str, ServerStreaming] = field(default_factory=dict)
    streaming: Mapping[str, Streaming] = field(default_factory=dict)
    refused: Callable[[AuthorityError, Context], Awaitable[Refusal]] = _as_is
    count: Callable[[str], None] = _uncounted
    pool: DescriptorPool = field(default_factory=Default)


class Calls:
    """The calls of one service that are open."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._open: set[asyncio.Task[object]] = set()

    def handler(self) -> grpc.GenericRpcHandler:
        """The service's methods, as gRPC takes them. Without (de)serializers: it passes on bytes."""
        service = self._service
        methods = {
            **{
                name: grpc.unary_unary_rpc_method_handler(self._unary(method)) for name, method in service.unary.items()
            },
            **{
                name: grpc.unary_stream_rpc_method_handler(self._server_streaming(method))
                for name, method in service.server_streaming.items()
            },
            **{
                name: grpc.stream_stream_rpc_method_handler(self._streaming(method))
                for name, method in service.streaming.items()
            },
        }
        return grpc.method_handlers_generic_handler(service.name, methods)

    async def ended(self, *, within: float) -> None:
        """Wait for those that are open. gRPC takes a call for ended before its own task is."""
        ending = self._open - {asyncio.current_task()}
        if ending:
            await asyncio.wait(ending, timeout=within)

    def _unary(self, method: Unary) -> Unary:
        async def call(request: bytes, context: Context) -> bytes:
            answers: list[bytes] = []

            async def answer() -> None:
                answers.append(await method(request, context))

            await self._run(answer(), context)
            return answers[0]

        return call

    def _server_streaming(self, method: ServerStreaming) -> ServerStreaming:
        async def call(request: bytes, context: Context) -> None:
            await self._run(method(request, context), context)

        return call

    def _streaming(self, method: Streaming) -> Callable[[object, Context], Awaitable[None]]:
        async def call(_requests: object, context: Context) -> None:
            await self._run(method(context), context)

        return call

    async def _run(self, work: Awaitable[None], context: Context) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("calls are tasks")
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        try:
            await work
        except RefusedCallError as error:
            await self._abort(context, error.refusal)
        except AuthorityError as error:
            refusal = await self._service.refused(error, context)
            if refusal.kind is RefusalKind.INTERNAL:
                _logger.exception("a call of %s failed", self._service.name)
            await self._abort(context, refusal)
        except grpc.aio.AbortError:
            raise
        except Exception:  # what nobody foresaw refuses, and says so where the operator looks
            _logger.exception("a call of %s failed", self._service.name)
            await self._abort(context, _INTERNAL)

    async def _abort(self, context: Context, refusal: Refusal) -> None:
        self._service.count(refusal.code)
        await context.abort(_CODES[refusal.kind.grpc], refusal.text)


_INTERNAL = Refusal(RefusalKind.INTERNAL, "internal", "the authority could not do it; its log says why")
