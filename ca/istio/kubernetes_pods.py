"""The pods of a cluster by its API server, as far as impersonation asks for them.

What is known is used for a few seconds, and a pod that is not among it is looked for again at once: a proxy asks for the name of
a pod the moment it starts.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

from ca.errors import NotReadyError
from ca.fetching import Fetcher, FetchError, TrustedFile, require_https
from ca.istio.impersonation import Account, Pod

__all__ = ["KubernetesPods"]

T = TypeVar("T")

_logger = logging.getLogger("meshward.ca")

_FRESH = 5.0
_AGAIN = 0.2
"""Seconds after which a pod that was not there may be."""
_MOST_KEPT = 1024
_NOT_FOUND = 404
_PAGE = 100
_MAX_PAGES = 10
"""A node has 110 pods, and a few hundred where somebody has raised that."""
_MAX_PAGE = 16 * 1024 * 1024
_ENDED = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class _Known(Generic[T]):
    what: T
    at: float


class KubernetesPods:
    """The pods of the cluster whose API server is at `server`.

    `token` is a file with the token of a service account that may `get` and `list` pods, read anew for each request, for such
    tokens change every hour; `authorities` one with what the server's certificate is verified by, which is followed as well.

    Raises:
        FetchError: `server` is no `https://` address, or `authorities` holds none.
    """

    def __init__(
        self, server: str, *, token: Path, authorities: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        require_https(server)
        self._server = server.rstrip("/")
        self._token = token
        self._fetcher = Fetcher(TrustedFile(authorities), most=_MAX_PAGE)
        self._clock = clock
        self._pods: dict[tuple[str, str], _Known[Pod | None]] = {}
        self._nodes: dict[str, _Known[frozenset[Account]]] = {}
        self._asking: dict[object, asyncio.Task[Any]] = {}

    async def pod(self, namespace: str, name: str, /) -> Pod | None:
        """As `Pods.pod`."""
        key = (namespace, name)
        known = self._pods.get(key)
        if known is None or self._is_stale(known.at, missing=known.what is None):
            known = await self._once(key, lambda: self._ask_for_pod(namespace, name))
            _keep(self._pods, key, known)
        return known.what

    async def runs(self, account: Account, /, *, node: str) -> bool:
        """As `Pods.runs`."""
        known = self._nodes.get(node)
        if known is None or self._is_stale(known.at, missing=account not in known.what):
            known = await self._once(node, lambda: self._ask_for_node(node))
            _keep(self._nodes, node, known)
        return account in known.what

    def _is_stale(self, at: float, *, missing: bool) -> bool:
        return self._clock() - at >= (_AGAIN if missing else _FRESH)

    async def _once(self, key: object, ask: Callable[[], Coroutine[Any, Any, T]]) -> "_Known[T]":
        """What `ask` finds; of those who want to know the same at the same time one asks."""
        began = self._clock()
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(ask())
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        # Others wait for the same: one that gives up takes nothing from them.
        return _Known(await asyncio.shield(task), began)

    async def _ask_for_pod(self, namespace: str, name: str) -> Pod | None:
        if not namespace or not name:
            return None
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(name, safe='')}"
        try:
            found = _pod(await self._get(path))
        except FetchError as error:
            if error.status == _NOT_FOUND:
                return None
            raise _unknown(error.reason) from error
        return found if found is not None and found.name == name and found.account.namespace == namespace else None

    async def _ask_for_node(self, node: str) -> frozenset[Account]:
        found: set[Account] = set()
        query = {"fieldSelector": f"spec.nodeName={node}", "limit": str(_PAGE)}
        for _ in range(_MAX_PAGES):
            try:
                page = await self._get(f"/api/v1/pods?{urlencode(query)}")
            except FetchError as error:
                raise _unknown(error.reason) from error
            items = page.get("items")
            pods = [_pod(item) for item in items] if isinstance(items, list) else []
            # The server is asked for one node; what it says of each pod counts all the same.
            found.update(pod.account for pod in pods if pod is not None and pod.node == node)
            go_on = _object(page, "metadata").get("continue")
            if not isinstance(go_on, str) or not go_on:
                return frozenset(found)
            query["continue"] = go_on
        raise _unknown(f"node {node!r} has more than {_PAGE * _MAX_PAGES} pods")

    async def _get(self, path: str) -> Mapping[str, object]:
        try:
            token = (await asyncio.to_thread(self._token.read_text, encoding="ascii")).strip()
        except (OSError, ValueError) as error:
            raise _unknown("the token of our service account cannot be read") from error
        body = await self._fetcher.fetch(self._server + path, headers={"authorization": f"Bearer {token}"})
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise _unknown("what the API server answers is no JSON") from error
        if not isinstance(answer, dict):
            raise _unknown("what the API server answers is no object")
        return answer


def _unknown(reason: str) -> NotReadyError:
    # Where the API server is, is in the log, and nobody's business out there.
    _logger.warning("the pods of the cluster are not known: %s", reason)
    return NotReadyError("the pods of the cluster are not known")


def _keep(known: dict[Any, Any], key: object, what: object) -> None:
    if len(known) >= _MOST_KEPT:
        known.clear()
    known[key] = what


def _pod(item: object) -> Pod | None:
    """A pod that has not ended, if that is what it is."""
    if not isinstance(item, dict):
        return None
    metadata, spec = _object(item, "metadata"), _object(item, "spec")
    if _object(item, "status").get("phase") in _ENDED:
        return None
    account = Account(_text(metadata, "namespace"), _text(spec, "serviceAccountName"))
    name, uid = _text(metadata, "name"), _text(metadata, "uid")
    if not (name and uid and account.namespace and account.name):
        return None
    return Pod(name, uid, account, _text(spec, "nodeName"))


def _object(members: Mapping[str, object], name: str) -> Mapping[str, object]:
    found = members.get(name)
    return found if isinstance(found, dict) else {}


def _text(members: Mapping[str, object], name: str) -> str:
    found = members.get(name)
    return found if isinstance(found, str) else ""
