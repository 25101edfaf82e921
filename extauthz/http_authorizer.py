"""Asking an external authorizer by a request that looks like the one to decide about."""

import asyncio
from collections.abc import Iterable, Iterator

import httpx

from authz.attributes import Attributes
from authz.changes import Changes
from authz.decision import Denial
from authz.extension_provider import HttpProvider
from authz.values import ascii_lower
from extauthz.answer import MAX_ANSWER, Answer, Authorized, BadAnswerError, Refused
from extauthz.question import joined_headers

__all__ = ["HttpAuthorizer"]

# Envoy's filter always sends these (6.1), and always lets these back where a list says what else may come.
_ALWAYS_SENT = ("authorization", "content-length")
_ALWAYS_RETURNED = ("content-length", "location", "proxy-authenticate", "set-cookie", "www-authenticate")
# These speak of a connection, or of a body that is not the one they came with.
_OF_THE_CONNECTION = frozenset(
    {"connection", "content-length", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)


class HttpAuthorizer:
    """Connections to one authorizer."""

    def __init__(self, provider: HttpProvider) -> None:
        self._provider = provider
        host = f"[{provider.host}]" if ":" in provider.host else provider.host
        self._url = f"http://{host}:{provider.port}/"
        self._client = httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=httpx.Timeout(None))

    async def ask(self, body: bytes, attributes: Attributes, *, seconds: float) -> Answer:
        """What it says about the request with these facts, and this much of its body, within `seconds`.

        Raises:
            BadAnswerError: Nothing that can be used.
        """
        try:
            async with asyncio.timeout(seconds):
                status, headers, content = await self._exchange(body, attributes)
        except TimeoutError as error:
            raise BadAnswerError(f"no answer within {seconds:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise BadAnswerError(str(error) or type(error).__name__) from error
        if status >= 500:
            raise BadAnswerError(f"it answered {status}")
        return self._authorized(headers) if status == httpx.codes.OK else self._refused(status, headers, content)

    async def _exchange(self, body: bytes, attributes: Attributes) -> tuple[int, list[tuple[str, str]], bytes]:
        request = httpx.Request(
            attributes.method or "GET",
            self._url,
            headers=[(name.encode(), _bytes(value)) for name, value in self._headers(body, attributes)],
            content=body,
            # As it is, byte for byte: a path that a library tidied is not the one to decide about.
            extensions={"target": _bytes(self._provider.path_prefix + (attributes.path or ""))},
        )
        response = await self._client.send(request, stream=True)
        try:
            content = bytearray()
            async for chunk in response.aiter_raw():
                content += chunk
                if len(content) > MAX_ANSWER:
                    raise BadAnswerError(f"its answer is longer than {MAX_ANSWER} bytes")
        finally:
            await response.aclose()
        headers = [(ascii_lower(_text(name)), _text(value)) for name, value in response.headers.raw]
        return response.status_code, headers, bytes(content)

    def _headers(self, body: bytes, attributes: Attributes) -> Iterator[tuple[str, str]]:
        sent = _Names((*self._provider.include_request_headers, *_ALWAYS_SENT))
        added = {ascii_lower(name): value for name, value in self._provider.include_additional_headers.items()}
        yield "host", attributes.host or ""
        for name, value in joined_headers(attributes).items():
            if not name.startswith(":") and name in sent and name not in added and name not in _OF_THE_CONNECTION:
                yield name, value
        yield from ((name, value) for name, value in added.items() if name not in _OF_THE_CONNECTION)
        yield "content-length", str(len(body))

    def _authorized(self, headers: Iterable[tuple[str, str]]) -> Authorized:
        upstream = _Names(self._provider.headers_to_upstream_on_allow)
        downstream = _Names(self._provider.headers_to_downstream_on_allow)
        taken: dict[str, tuple[str, ...]] = {}
        returned = []
        for name, value in headers:
            if name in upstream and name not in _OF_THE_CONNECTION:
                taken[name] = (*taken.get(name, ()), value)
            if name in downstream and name not in _OF_THE_CONNECTION:
                returned.append((name, value))
        return Authorized(changes=Changes(headers=taken), response_headers=tuple(returned))

    def _refused(self, status: int, headers: Iterable[tuple[str, str]], content: bytes) -> Refused:
        listed = self._provider.headers_to_downstream_on_deny
        names = _Names((*listed, *_ALWAYS_RETURNED) if listed else ("*",))
        returned = tuple((n, value) for n, value in headers if n in names and n not in _OF_THE_CONNECTION)
        return Refused(denial=Denial(status, content, returned), reason=f"authorizer {self._provider.name} refuses")

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


class _Names:
    """Names of headers: exact, `prefix*` or `*suffix`, whatever the case."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = tuple(map(ascii_lower, patterns))

    def __contains__(self, name: str) -> bool:
        for pattern in self._patterns:
            if pattern.startswith("*"):
                found = name.endswith(pattern[1:])
            elif pattern.endswith("*"):
                found = name.startswith(pattern[:-1])
            else:
                found = name == pattern
            if found:
                return True
        return False


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
