"""SPIFFE IDs: the names of workloads and of the trust domains they belong to.

Canonical names only: the standard lets a reader lower-case the scheme and the trust domain, but names are compared as
bytes by every proxy that enforces them, so a name that needs repair is refused.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple, Self

from identity.errors import InvalidSpiffeIdError, InvalidTrustDomainError

__all__ = ["SpiffeId", "TrustDomain", "WorkloadName"]

MAX_ID = 2048
MAX_TRUST_DOMAIN = 255

_SCHEME = "spiffe://"
# Spelled out and used with `fullmatch`: `\w` knows Unicode letters, and "$" would let a trailing newline in.
_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]+")
_SEGMENT = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True, order=True)
class TrustDomain:
    """The name of a trust domain, e.g. `cluster.local`. One that exists is valid."""

    name: str

    def __post_init__(self) -> None:
        # The alphabet is ASCII, so characters count bytes wherever the length decides alone.
        if not self.name:
            raise InvalidTrustDomainError(self.name, "trust domain is missing")
        if len(self.name) > MAX_TRUST_DOMAIN:
            raise InvalidTrustDomainError(self.name, f"trust domain is longer than {MAX_TRUST_DOMAIN} bytes")
        if not _TRUST_DOMAIN.fullmatch(self.name):
            raise InvalidTrustDomainError(
                self.name,
                "trust domain has a character other than lower-case letters, digits, dots, dashes and underscores",
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a trust domain's name, without scheme or path.

        Raises:
            InvalidTrustDomainError: it is not one in canonical form.
        """
        return cls(text)

    @property
    def id(self) -> "SpiffeId":
        """The trust domain's own SPIFFE ID, which has no path and names its authority."""
        return SpiffeId(self, "")

    def __str__(self) -> str:
        return self.name


class WorkloadName(NamedTuple):
    """How Istio names a workload inside a trust domain."""

    namespace: str
    service_account: str


@dataclass(frozen=True, slots=True, order=True)
class SpiffeId:
    """A SPIFFE ID, e.g. `spiffe://cluster.local/ns/shop/sa/web`. One that exists is valid.

    `path` is empty or begins with a slash. `str()` gives the text that `parse` read.
    """

    trust_domain: TrustDomain
    path: str

    def __post_init__(self) -> None:
        # Both parts are ASCII once they are valid; before that, too many characters are too many bytes all the more.
        if len(str(self)) > MAX_ID:
            raise InvalidSpiffeIdError(str(self), f"SPIFFE ID is longer than {MAX_ID} bytes")
        if (reason := _fault_of_path(self.path)) is not None:
            raise InvalidSpiffeIdError(str(self), reason)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a SPIFFE ID.

        Raises:
            InvalidSpiffeIdError: it is not one in canonical form.
        """
        if not text:
            raise InvalidSpiffeIdError(text, "SPIFFE ID is empty")
        if not text.startswith(_SCHEME):
            raise InvalidSpiffeIdError(text, "scheme is missing or is not `spiffe://`")
        name, slash, rest = text[len(_SCHEME) :].partition("/")
        try:
            trust_domain = TrustDomain.parse(name)
        except InvalidTrustDomainError as error:
            raise InvalidSpiffeIdError(text, error.reason) from error
        return cls(trust_domain, slash + rest)

    @classmethod
    def for_workload(cls, trust_domain: TrustDomain, *, namespace: str, service_account: str) -> Self:
        """The name that Istio gives to the workloads of a service account.

        Raises:
            InvalidSpiffeIdError: one of the two is not a path segment, or the whole is too long.
        """
        spiffe_id = cls(trust_domain, f"/ns/{namespace}/sa/{service_account}")
        # A slash inside either would name somebody else's workload.
        if spiffe_id.workload != (namespace, service_account):
            raise InvalidSpiffeIdError(str(spiffe_id), "namespace and service account are one path segment each")
        return spiffe_id

    @property
    def workload(self) -> WorkloadName | None:
        """Namespace and service account, if the path is `/ns/<namespace>/sa/<service account>` and nothing else."""
        match self.path.split("/"):
            case ["", "ns", namespace, "sa", service_account]:
                return WorkloadName(namespace, service_account)
            case _:
                return None

    def __str__(self) -> str:
        return f"{_SCHEME}{self.trust_domain}{self.path}"


def _fault_of_path(path: str) -> str | None:
    """What is wrong with the first segment that is not as it should be."""
    if not path:
        return None
    before, *segments = path.split("/")
    if before:
        return "path does not begin with a slash"
    for index, segment in enumerate(segments):
        if not segment:
            last = index == len(segments) - 1
            return "path has a trailing slash" if last else "path has an empty segment"
        if segment in {".", ".."}:
            return "path has a dot segment"
        if not _SEGMENT.fullmatch(segment):
            return "path has a character other than letters, digits, dots, dashes and underscores"
    return None
