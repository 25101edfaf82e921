"""Impersonation: a node's proxy asks in the name of the workloads that it carries, and of no others (spec 2.7).

Istio's ambient mode has one ztunnel a node. Whoever takes one over gets the names of that node's pods, as they would anyway.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Protocol

from ca.attestation import Attestor, Caller, ServiceAccount
from ca.errors import ImpersonationError
from identity import InvalidSpiffeIdError, SpiffeId

__all__ = ["Account", "Impersonation", "Pod", "Pods"]


@dataclass(frozen=True, slots=True, order=True)
class Account:
    """A service account of a cluster."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod as its cluster knows it. `node` is empty before it has one."""

    name: str
    uid: str
    account: Account
    node: str


class Pods(Protocol):
    """The pods of one cluster that have not ended."""

    async def pod(self, namespace: str, name: str, /) -> Pod | None:
        """The one of that name, `None` if there is none.

        Raises:
            NotReadyError: nobody can tell.
        """

    async def runs(self, account: Account, /, *, node: str) -> bool:
        """Whether a pod of `account` is on `node`.

        Raises:
            NotReadyError: nobody can tell.
        """


class Impersonation:
    """Who may ask for whom. `pods` are those of each cluster, by its name; `trusted` the service accounts of nodes' proxies."""

    def __init__(self, pods: Mapping[str, Pods], *, trusted: AbstractSet[Account]) -> None:
        self._pods = pods
        self._trusted = trusted

    async def caller_for(self, caller: Caller, asked: str) -> Caller:
        """What is true of the workload `asked`, in whose name `caller` asks. It keeps the name of `caller`, who is the one to answer for it.

        Raises:
            ImpersonationError: it may not.
            NotReadyError: nobody can tell.
        """
        facts = _facts(caller)
        cluster, pods = facts.get("cluster", ""), self._pods.get(facts.get("cluster", ""))
        if pods is None:
            raise ImpersonationError("there is no list of the pods of the caller's cluster")
        account = Account(facts.get("ns", ""), facts.get("sa", ""))
        if account not in self._trusted:
            raise ImpersonationError(f"the service account {account} is not trusted with other names")
        spiffe_id, workload = _asked(asked, caller)
        pod = await pods.pod(account.namespace, facts.get("pod-name", ""))
        if pod is None:
            raise ImpersonationError("the pod that the caller's token is bound to is not there")
        # A pod of that name may have come after the one that the token was for.
        if pod.uid != facts.get("pod-uid"):
            raise ImpersonationError("the pod that the caller's token is bound to is another by now")
        if pod.account != account:
            raise ImpersonationError(f"the caller's pod runs as {pod.account}")
        if not pod.node or not await pods.runs(workload, node=pod.node):
            raise ImpersonationError(f"no pod of {workload} is on the caller's node")
        found = ServiceAccount(workload.namespace, workload.name, node=pod.node).caller(
            cluster, named_in=spiffe_id.trust_domain
        )
        return replace(found, name=caller.name, instance=caller.instance)


def _facts(caller: Caller) -> Mapping[str, str]:
    """What a token of a cluster said. Whoever showed something else has no facts, and so is trusted with nothing."""
    if caller.attestor is not Attestor.KUBERNETES:
        return {}
    return {name: value for name, _, value in (each.value.partition(":") for each in caller.selectors)}


def _asked(text: str, caller: Caller) -> tuple[SpiffeId, Account]:
    try:
        spiffe_id = SpiffeId.parse(text)
    except InvalidSpiffeIdError as error:
        raise ImpersonationError(str(error)) from error
    workload = spiffe_id.workload
    if workload is None:
        raise ImpersonationError(f"{text!r} is not the name of a service account")
    if caller.spiffe_id is None or spiffe_id.trust_domain != caller.spiffe_id.trust_domain:
        raise ImpersonationError(f"{text!r} is not in the trust domain of the caller's cluster")
    return spiffe_id, Account(workload.namespace, workload.service_account)
