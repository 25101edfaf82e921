"""Authorizers: asks the external authorizers to which CUSTOM policies leave requests (semantics 6.4)."""

import logging

from envoy.service.auth.v3 import external_auth_pb2

from authz.attributes import Attributes
from authz.decision import Denial
from authz.extension_provider import ExtensionProvider, GrpcProvider
from extauthz.answer import Answer, Authorized, BadAnswerError, Refused
from extauthz.grpc_authorizer import GrpcAuthorizer
from extauthz.http_authorizer import HttpAuthorizer
from extauthz.question import BodyTooLargeError, body_for, to_question
from extauthz.tally import Call, Tally

__all__ = ["Authorizers"]

_logger = logging.getLogger("meshward")


class Authorizers:
    """Connects to an authorizer when it is first asked, and anew when its settings have changed. `tally` counts the answers."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._current: dict[str, tuple[ExtensionProvider, GrpcAuthorizer | HttpAuthorizer]] = {}
        # Those of settings that were replaced may still be answering. They are few, and idle.
        self._former: list[GrpcAuthorizer | HttpAuthorizer] = []

    async def ask(
        self,
        provider: ExtensionProvider,
        asked: external_auth_pb2.CheckRequest,
        attributes: Attributes,
        *,
        seconds: float,
    ) -> Answer:
        """What `provider` says about a request.

        `asked` is how Envoy asked about it, `attributes` are its facts by now, `seconds` are left to answer Envoy. Who cannot
        be asked has refused, unless its settings say that it fails open.
        """
        seconds = min(provider.timeout, seconds)
        authorizer = self._authorizer(provider)
        try:
            answer: Answer
            if isinstance(authorizer, GrpcAuthorizer):
                question = to_question(asked, attributes, provider.body)
                answer = await authorizer.ask(question, attributes, seconds=seconds)
            else:
                answer = await authorizer.ask(body_for(asked, provider.body), attributes, seconds=seconds)
        except BodyTooLargeError:
            self._tally.count(Call.TOO_LARGE)
            return Refused(
                denial=Denial(413, b""), reason=f"the body is longer than authorizer {provider.name} may see"
            )
        except BadAnswerError as error:
            _logger.warning("authorizer %s could not be asked: %s", provider.name, error)
            self._tally.count(Call.FAILED_OPEN if provider.fail_open else Call.FAILED)
            if provider.fail_open:
                return Authorized()
            return Refused(
                denial=Denial(provider.status_on_error, b""), reason=f"authorizer {provider.name} could not be asked"
            )
        self._tally.count(Call.REFUSED if isinstance(answer, Refused) else Call.ALLOWED)
        return answer

    def _authorizer(self, provider: ExtensionProvider) -> GrpcAuthorizer | HttpAuthorizer:
        settings, authorizer = self._current.get(provider.name, (None, None))
        if authorizer is not None and settings == provider:
            return authorizer
        if authorizer is not None:
            self._former.append(authorizer)
        made = GrpcAuthorizer(provider) if isinstance(provider, GrpcProvider) else HttpAuthorizer(provider)
        self._current[provider.name] = provider, made
        return made

    async def close(self) -> None:
        """Close every connection."""
        for authorizer in (*self._former, *(current for _, current in self._current.values())):
            await authorizer.close()
