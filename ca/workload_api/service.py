"""The service: who calls, what they may have, and the codes of SPIFFE for what they may not (Workload API 4 to 6)."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from time import perf_counter
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ca.entries import Entry
from ca.errors import AuthorityError, EntitlementFault, NotEntitledError
from ca.front import Context, Front, RefusedCallError, Service, UnixPeer
from ca.inventory import IssuedKind
from ca.refusals import Refusal, RefusalKind
from ca.streams import HeldSvid, Holding, Moment, Refusing, Streams
from ca.workload_api.messages import MESSAGES, POOL, SERVICE, parse
from identity import (
    Bundle,
    InvalidJwtSvidError,
    InvalidSpiffeIdError,
    JwtSvid,
    SpiffeId,
    jwt_keys_document,
    verify_jwt_svid,
)

__all__ = ["WorkloadApi"]

EDGE = "workload-api"
_HEADER = "workload.spiffe.io"
_MOST_AUDIENCES = 32

_Message = Any
_Built = tuple[_Message, datetime | None]
"""A message, and when another is due whatever happens."""


class WorkloadApi:
    """Answers the processes that come in at `front`."""

    def __init__(self, streams: Streams, front: Front[UnixPeer]) -> None:
        self._streams = streams
        self._office = streams.office
        self._front = front
        self._refusing = Refusing(streams.office, "workload api")

    def service(self) -> Service:
        """Its methods. Those for WIT-SVIDs are not there, which is what the standard wants of who has none."""
        return Service(
            name=SERVICE,
            unary={"FetchJWTSVID": self._fetch_jwt_svid, "ValidateJWTSVID": self._validate_jwt_svid},
            server_streaming={
                "FetchX509SVID": self._streaming("FetchX509SVID", self._x509_svids),
                "FetchX509Bundles": self._streaming("FetchX509Bundles", self._x509_bundles),
                "FetchJWTBundles": self._streaming("FetchJWTBundles", self._jwt_bundles),
            },
            refused=self._refused,
            count=lambda code: self._office.counters.refused(EDGE, code),
            pool=POOL,
        )

    # Streams

    def _streaming(
        self, method: str, build: Callable[[Moment], Awaitable[_Built]]
    ) -> Callable[[bytes, Context], Awaitable[None]]:
        async def stream(request: bytes, context: Context) -> None:
            peer = self._admitted(context)
            parse(method, request)
            with self._streams.open():
                await self._stream(peer, context, build)

        return stream

    async def _stream(self, peer: UnixPeer, context: Context, build: Callable[[Moment], Awaitable[_Built]]) -> None:
        holding: Holding | None = None
        last: bytes | None = None
        try:
            while True:
                # Who it is and what it may have is found out again before each message.
                moment = await self._streams.moment(peer)
                default = moment.require_entries()[0]
                if holding is None:
                    holding = self._streams.holders.opened(_caller(moment, default), _program(moment))
                message, due = await build(moment)
                content = message.SerializeToString(deterministic=True)
                if content != last:
                    await context.write(content)
                    last = content
                # Written in full, so it is on its way to somebody who takes it.
                holding.holds(moment.sequence, at=moment.at)
                await self._streams.after(moment, due=due)
        finally:
            if holding is not None:
                holding.close(at=self._office.clock())

    async def _x509_svids(self, moment: Moment) -> _Built:
        bundle = _roots(moment.bundle)
        held = [await self._streams.svid(moment, entry) for entry in moment.entries]
        message = MESSAGES["FetchX509SVID"](
            svids=[
                {
                    "spiffe_id": str(each.entry.spiffe_id),
                    "x509_svid": _der(each.svid.chain),
                    "x509_svid_key": _pkcs8(each),
                    "bundle": bundle,
                    "hint": each.entry.hint,
                }
                for each in held
            ],
            federated_bundles={str(domain.id): _roots(each) for domain, each in moment.federated.items()},
        )
        return message, min(each.due for each in held)

    async def _x509_bundles(self, moment: Moment) -> _Built:
        bundles = {str(bundle.trust_domain.id): _roots(bundle) for bundle in _bundles(moment)}
        return MESSAGES["FetchX509Bundles"](bundles=bundles), None

    async def _jwt_bundles(self, moment: Moment) -> _Built:
        bundles = {str(bundle.trust_domain.id): jwt_keys_document(bundle) for bundle in _bundles(moment)}
        return MESSAGES["FetchJWTBundles"](bundles=bundles), None

    # Tokens

    async def _fetch_jwt_svid(self, content: bytes, context: Context) -> bytes:
        peer = self._admitted(context)
        request = parse("FetchJWTSVID", content)
        audience = tuple(dict.fromkeys(request.audience))
        if not audience or not all(audience):
            raise RefusedCallError.malformed("audience", "audience must be specified")
        if len(audience) > _MOST_AUDIENCES:
            raise RefusedCallError.malformed("audience", f"more than {_MOST_AUDIENCES} audiences")
        wanted = _requested(request.spiffe_id)
        moment = await self._streams.moment(peer)
        entries = [entry for entry in moment.require_entries() if wanted is None or entry.spiffe_id == wanted]
        if not entries:
            raise NotEntitledError(moment.caller.name, EntitlementFault.OTHER_IDENTITY, "no identity issued")
        svids = []
        for entry in entries:
            self._office.limits.issuing(moment.caller)
            started = perf_counter()
            minted = await self._office.issuance.jwt_svid(moment.caller, entry, audience, at=self._office.clock())
            self._office.counters.issued(EDGE, IssuedKind.JWT)
            self._office.counters.seconds(EDGE, IssuedKind.JWT, perf_counter() - started)
            svids.append({"spiffe_id": str(entry.spiffe_id), "svid": minted.token, "hint": entry.hint})
        answer: bytes = MESSAGES["FetchJWTSVID"](svids=svids).SerializeToString()
        return answer

    async def _validate_jwt_svid(self, content: bytes, context: Context) -> bytes:
        peer = self._admitted(context)
        request = parse("ValidateJWTSVID", content)
        if not request.audience:
            raise RefusedCallError.malformed("audience", "audience must be specified")
        if not request.svid:
            raise RefusedCallError.malformed("svid", "svid must be specified")
        # Keys are public: who has no identity may verify, too.
        moment = await self._streams.moment(peer)
        try:
            proved = verify_jwt_svid(request.svid, _bundles(moment), audience=request.audience, at=moment.at)
        except InvalidJwtSvidError as error:
            raise RefusedCallError.malformed("token", error.reason) from error
        answer = MESSAGES["ValidateJWTSVID"](spiffe_id=str(proved.spiffe_id))
        answer.claims.update(self._claims(proved))
        said: bytes = answer.SerializeToString()
        return said

    def _claims(self, proved: JwtSvid) -> Mapping[str, object]:
        claims = dict(proved.claims)
        if proved.spiffe_id.trust_domain != self._office.trust_domain:
            # What another authority may have put in besides is nothing that this one answers for.
            claims = {name: value for name, value in claims.items() if name in {"sub", "exp"}}
        return {**claims, "aud": list(proved.audience)}

    # Callers

    def _admitted(self, context: Context) -> UnixPeer:
        # A request that somebody else's server was made to send has no such header (4.1).
        found = [value for name, value in context.invocation_metadata() if name == _HEADER]
        if found != ["true"]:
            raise RefusedCallError.malformed("security-header", "security header missing from request")
        peer = self._front.peer(context)
        self._office.limits.attesting(peer.origin)
        return peer

    async def _refused(self, error: AuthorityError, context: Context) -> Refusal:
        refusal = await self._refusing.refused(error, self._who(context))
        if isinstance(error, NotEntitledError):
            # One text, whatever it is that the caller may not have.
            return Refusal(RefusalKind.FORBIDDEN, refusal.code, "no identity issued")
        return refusal

    def _who(self, context: Context) -> str:
        try:
            return self._front.peer(context).origin
        except AuthorityError:
            return "unix"


def _caller(moment: Moment, default: Entry) -> str:
    """With its program: one name whenever the same workload comes, and another for another program of its user."""
    return " ".join(["workload-api", moment.caller.name, str(default.spiffe_id)])


def _program(moment: Moment) -> str:
    return " ".join(sorted(each.value for each in moment.caller.selectors if each.value.startswith("path:")))


def _bundles(moment: Moment) -> tuple[Bundle, ...]:
    return (moment.bundle, *moment.federated.values())


def _requested(text: str) -> SpiffeId | None:
    if not text:
        return None
    try:
        return SpiffeId.parse(text)
    except InvalidSpiffeIdError as error:
        raise RefusedCallError.malformed("spiffe-id", f"invalid requested SPIFFE ID: {error.reason}") from error


def _der(certificates: Iterable[x509.Certificate]) -> bytes:
    return b"".join(each.public_bytes(Encoding.DER) for each in certificates)


def _roots(bundle: Bundle) -> bytes:
    return _der(bundle.x509_authorities)


def _pkcs8(held: HeldSvid) -> bytes:
    key = held.svid.private_key
    if key is None:
        raise ValueError("an SVID that is handed out comes with its key")
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
