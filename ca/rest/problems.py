"""Problems: what HTTP says when it does not do what was asked (RFC 9457), from one table of codes."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from ca.counting import Counters
from ca.errors import AuthorityError, BrokenAuditError, CsrFault, EntitlementFault
from ca.refusals import refusal_of

__all__ = ["KINDS", "MEDIA_TYPE", "Kind", "Problem", "ProblemError", "Problems", "documented"]

MEDIA_TYPE = "application/problem+json"

_MOST_FAULTS = 10
_LONGEST_PLACE = 100


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem. `code` is stable and for programs, `title` for people."""

    code: str
    status: int
    title: str

    @property
    def uri(self) -> str:
        """What identifies it; whoever asks for that reads what is here."""
        return f"/problems/{self.code}"


KINDS: Mapping[str, Kind] = {
    kind.code: kind
    for kind in (
        # What the authority refuses, the same at every edge (`ca.refusals`).
        Kind(CsrFault.MISSING.value, 400, "The certificate signing request is missing"),
        Kind(CsrFault.TOO_LONG.value, 400, "The certificate signing request is too long"),
        Kind(CsrFault.MALFORMED.value, 400, "The certificate signing request cannot be read"),
        Kind(CsrFault.KEY.value, 400, "The key of the certificate signing request is not one that is certified"),
        Kind(
            CsrFault.SIGNATURE.value, 400, "The certificate signing request does not prove that its sender has the key"
        ),
        Kind(CsrFault.ASKS_FOR_MORE.value, 400, "The certificate signing request asks for what no workload gets"),
        Kind(CsrFault.NAME.value, 400, "The certificate signing request asks for what is no name of a workload"),
        Kind("key-refused", 400, "The key is another's, the authority's own, or was given up as compromised"),
        Kind("lifetime-refused", 400, "The time to live is out of bounds"),
        Kind("name-refused", 400, "The name is not one that this authority can give"),
        Kind("unauthenticated", 401, "Who asks did not show who it is"),
        Kind(EntitlementFault.NO_IDENTITY.value, 403, "There is no identity for who asks"),
        Kind(EntitlementFault.OTHER_IDENTITY.value, 403, "Who asks may not have that identity"),
        Kind(
            EntitlementFault.SEVERAL_IDENTITIES.value, 403, "Who asks may have several identities and has to say which"
        ),
        Kind(EntitlementFault.NO_ADMIN.value, 403, "Who asks may not manage the authority"),
        Kind("not-found", 404, "There is no such thing"),
        Kind("conflict", 409, "What there is contradicts what was asked for"),
        Kind("limited", 429, "Too many requests"),
        Kind("internal", 500, "The authority could not do it"),
        Kind("not-ready", 503, "The authority can issue nothing now"),
        # What HTTP adds.
        Kind("request-refused", 400, "The request is not as it is described"),
        Kind("body-refused", 400, "The body is no JSON object that can be read in one way only"),
        Kind("several-credentials", 400, "More than one credential was shown"),
        Kind("host-refused", 400, "The host is not one of this issuer"),
        Kind("entry-refused", 400, "The registration entry would not do what it says"),
        Kind("method-not-allowed", 405, "There is no such method here"),
        Kind("not-acceptable", 406, "There is no such representation"),
        Kind("audit-broken", 409, "The audit chain is not as it was written"),
        Kind("body-too-long", 413, "The body is too long"),
        Kind("headers-too-long", 431, "The headers and the path are too long"),
        Kind("media-type-refused", 415, "The body is not said to be JSON"),
    )
}
_OF_STATUS = {404: "not-found", 405: "method-not-allowed", 406: "not-acceptable", 413: "body-too-long"}


class Fault(BaseModel):
    """One thing that is wrong with a request: where, and what."""

    where: str
    what: str


class Problem(BaseModel):
    """A problem (RFC 9457)."""

    model_config = ConfigDict(frozen=True)

    type: str = Field(description="What kind of problem it is, as a reference to its description.")
    code: str = Field(description="The same, short.", json_schema_extra={"enum": [*sorted(KINDS)]})
    title: str = Field(description="The same, for people.")
    status: int
    detail: str = Field(description="What it is about this time.")
    errors: list[Fault] | None = Field(default=None, description="What is wrong with the request, at most ten things.")


class ProblemError(HTTPException):
    """A request that HTTP itself refuses. One of the framework's, so that the framework lets it through."""

    def __init__(self, code: str, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(KINDS[code].status, detail, dict(headers or {}))
        self.code = code


class Problems:
    """Answers with problems, and counts them, for one edge."""

    def __init__(self, counters: Counters, edge: str) -> None:
        self._counters = counters
        self._edge = edge

    def handle(self, app: FastAPI) -> None:
        """Have all errors of `app` answered here. What is unforeseen is not: `ca.rest.guard` meets that."""
        app.add_exception_handler(HTTPException, self._http)
        app.add_exception_handler(RequestValidationError, self._invalid)
        app.add_exception_handler(AuthorityError, self._refused)

    def answer(
        self, code: str, detail: str, *, headers: Mapping[str, str] | None = None, errors: Iterable[Fault] = ()
    ) -> Response:
        """The answer that says so."""
        kind = KINDS[code]
        self._counters.refused(self._edge, code)
        problem: dict[str, Any] = {
            "type": kind.uri,
            "code": code,
            "title": kind.title,
            "status": kind.status,
            "detail": detail,
        }
        if found := list(errors):
            problem["errors"] = [fault.model_dump() for fault in found]
        said = {"Cache-Control": "no-store", **(headers or {})}
        if kind.status == HTTPStatus.UNAUTHORIZED:
            said["WWW-Authenticate"] = 'Bearer realm="meshward"'
        return Response(json.dumps(problem).encode(), kind.status, said, MEDIA_TYPE)

    def of(self, error: HTTPException | AuthorityError) -> Response:
        """The answer to what `error` says."""
        match error:
            case ProblemError():
                return self.answer(error.code, error.detail, headers=error.headers)
            case BrokenAuditError():
                return self.answer("audit-broken", str(error))
            case AuthorityError():
                refusal = refusal_of(error)
                headers = {}
                if refusal.retry_after is not None:
                    # RFC 9110 10.2.3: whole seconds.
                    headers["Retry-After"] = str(max(math.ceil(refusal.retry_after.total_seconds()), 1))
                return self.answer(refusal.code, refusal.text, headers=headers)
            case _:
                code = _OF_STATUS.get(error.status_code, "request-refused" if error.status_code < 500 else "internal")
                detail = {"not-found": "there is nothing at this path"}.get(code, KINDS[code].title.lower())
                return self.answer(code, detail, headers=error.headers)

    async def _http(self, _request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101  # as it was registered
        return self.of(error)

    async def _refused(self, _request: Request, error: Exception) -> Response:
        assert isinstance(error, AuthorityError)  # noqa: S101  # as it was registered
        return self.of(error)

    async def _invalid(self, _request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101  # as it was registered
        return self.invalid(error)

    def invalid(self, error: RequestValidationError) -> Response:
        """The answer to a request that is not as it is described."""
        # Only where and what: the input itself is not repeated, it may hold a secret.
        faults = [
            Fault(where=".".join(map(str, each["loc"]))[:_LONGEST_PLACE], what=str(each["msg"]))
            for each in error.errors()[:_MOST_FAULTS]
        ]
        return self.answer("request-refused", "the request is not as it is described", errors=faults)


def documented(*codes: str) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of a route that may answer with these, and with what any may answer with."""
    by_status: dict[int, list[Kind]] = {}
    for code in dict.fromkeys((*codes, "limited", "internal")):
        by_status.setdefault(KINDS[code].status, []).append(KINDS[code])
    return {
        status: {
            "description": HTTPStatus(status).phrase + ": " + ", ".join(f"`{kind.code}`" for kind in kinds),
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "examples": {
                        kind.code: {
                            "value": {
                                "type": kind.uri,
                                "code": kind.code,
                                "title": kind.title,
                                "status": kind.status,
                                "detail": kind.title.lower(),
                            }
                        }
                        for kind in kinds
                    },
                }
            },
        }
        for status, kinds in sorted(by_status.items())
    }
