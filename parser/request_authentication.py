"""RequestAuthentication: from a document to the model, checked as Istio's webhook and schema check it (semantics 8.4).

Every check names its row there.
"""

import re
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

from authz.request_authentication import ClaimToHeader, JwtRule, Presence, RequestAuthentication, TokenHeader
from parser.decode import Decoder, is_null
from parser.diagnostics import Diagnostic, Severity, quoted
from parser.duration import NANOSECONDS, parse_duration
from parser.envelope import check_policy_envelope, creation_time, read_envelope
from parser.jwks import KeySetError, check_key_set
from parser.problems import Problems
from parser.targets import TARGETS, decode_targets
from parser.yaml_nodes import Mapping as MappingNode
from parser.yaml_nodes import Node, Scalar
from parser.yaml_spans import Spans

__all__ = ["KIND", "decode_request_authentication"]

KIND = "RequestAuthentication"

_MAX_RULES = 4096
_MAX_SPACE_DELIMITED = 64
_LONGEST_URI = 2048
_MILLISECOND = NANOSECONDS // 1000

_SPEC = (*TARGETS, "jwtRules")
_RULE = (
    "issuer",
    "audiences",
    "jwksUri",
    "jwks_uri",
    "jwks",
    "fromHeaders",
    "fromParams",
    "fromCookies",
    "forwardOriginalToken",
    "outputPayloadToHeader",
    "outputClaimToHeaders",
    "spaceDelimitedClaims",
    "timeout",
    "presence",
)
_IN_RULE = dict.fromkeys(_RULE, "jwtRules")

# R10, which Istio asks of claims' headers.
_CLAIM_HEADER = re.compile(r"[-_A-Za-z0-9]+")
# RFC 9110 5.1, asked of the other headers, too: no request has one of another name, and one that says `:path` rewrites it.
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_URIS = re.compile(r"[\x00-\x20\x7f]")

T = TypeVar("T")


def decode_request_authentication(
    node: MappingNode, problems: Problems, *, default_namespace: str = "default"
) -> RequestAuthentication | None:
    """The RequestAuthentication in a document of this kind; none where something is wrong with it."""
    before = problems.errors
    decoder = Decoder(problems)
    envelope = read_envelope(node, decoder, default_namespace=default_namespace)
    check_policy_envelope(node, envelope, decoder, dry_run=False)
    spec = decoder.fields(node.entries.get("spec"), "spec", _SPEC, elsewhere=_IN_RULE)
    targets = decode_targets(spec, decoder)
    policy = RequestAuthentication(
        namespace=envelope.namespace,
        name=envelope.name,
        created=creation_time(node, decoder),
        selector=targets.selector,
        target_refs=targets.references,
        jwt_rules=_Reader(decoder).rules(spec.get("jwtRules")),
        spans=Spans.of(node),
    )
    return policy if problems.errors == before else None


class _Reader:
    """Reads the rules of one policy."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._problems = decoder.problems

    def rules(self, node: Node | None) -> tuple[JwtRule, ...]:
        items = self._at_most(_MAX_RULES, node, "jwtRules")
        return tuple(self._rule(item) for item in items if not self._problems.full)

    def _rule(self, node: Node) -> JwtRule:
        if is_null(node):
            self._decoder.expected("a mapping", "jwtRules", node, help="remove the entry")
            return JwtRule()
        fields = self._decoder.fields(node, "jwtRules", _RULE)
        issuer = self._filled(fields.get("issuer"), "issuer")
        uri_node = self._one_spelling(fields.get("jwksUri"), fields.get("jwks_uri"))
        uri = self._uri(uri_node)
        jwks_node = fields.get("jwks")
        if not any((issuer, uri, *map(self._decoder.broken, (node, fields.get("issuer"), uri_node)))):
            # R2
            self._problems.error(
                "missing-issuer",
                "a rule needs an `issuer` or a `jwksUri`",
                node.span,
                help="write whose tokens are taken, as their `iss` claim has it",
            )
        if uri_node is not None and jwks_node is not None:
            # R12
            at = max(uri_node, jwks_node, key=lambda each: each.start)
            self._problems.error(
                "two-key-sets", "only one of `jwks` and `jwksUri` may be set", at.span, help="keep one"
            )
        return JwtRule(
            issuer=issuer,
            audiences=self._texts(fields.get("audiences"), "audiences"),  # R1
            jwks_uri=uri,
            jwks=self._key_set(jwks_node),
            from_headers=self._mappings(fields.get("fromHeaders"), "fromHeaders", self._location),
            from_params=self._texts(fields.get("fromParams"), "fromParams"),  # R7
            from_cookies=self._texts(fields.get("fromCookies"), "fromCookies"),  # R8
            forward_original_token=self._decoder.boolean(fields.get("forwardOriginalToken"), "forwardOriginalToken"),
            output_payload_to_header=self._header(
                fields.get("outputPayloadToHeader"), "outputPayloadToHeader", _HEADER
            ),
            output_claim_to_headers=self._mappings(
                fields.get("outputClaimToHeaders"), "outputClaimToHeaders", self._output
            ),
            space_delimited_claims=self._space_delimited(fields.get("spaceDelimitedClaims")),
            timeout=self._timeout(fields.get("timeout")),
            presence=self._presence(fields.get("presence")),
        )

    # Texts and lists -----------------------------------------------------------------------------------------------

    def _filled(self, node: Node | None, name: str) -> str:
        """A string that is not empty where it is given."""
        text = self._decoder.text(node, name)
        if node is not None and not text and not self._decoder.broken(node):
            # R13, and R1, R6 to R9 in their lists
            self._problems.error(
                "empty-value", f"empty value in `{name}`", node.span, help="write a value, or remove it"
            )
        return text

    def _texts(self, node: Node | None, name: str) -> tuple[str, ...]:
        return tuple(self._filled(item, name) for item in self._decoder.items(node, name) if not self._problems.full)

    def _at_most(self, most: int, node: Node | None, name: str) -> tuple[Node, ...]:
        items = self._decoder.items(node, name)
        if node is not None and len(items) > most:
            # R13
            self._problems.error(
                "too-many-values", f"more than {most} values in `{name}`", node.span, help="split the policy"
            )
        return items[:most]

    def _space_delimited(self, node: Node | None) -> tuple[str, ...]:
        name = "spaceDelimitedClaims"
        return tuple(self._filled(item, name) for item in self._at_most(_MAX_SPACE_DELIMITED, node, name))

    def _mappings(self, node: Node | None, name: str, read: Callable[[Node, str], T]) -> tuple[T, ...]:
        found = []
        for item in self._decoder.items(node, name):
            if self._problems.full:
                break
            if is_null(item):
                # R6, R9
                self._decoder.expected("a mapping", name, item, help="remove the entry")
                continue
            found.append(read(item, name))
        return tuple(found)

    # Keys ----------------------------------------------------------------------------------------------------------

    def _one_spelling(self, camel: Node | None, snake: Node | None) -> Node | None:
        """R13: the schema has both names for the one field."""
        if camel is not None and snake is not None:
            at = max(camel, snake, key=lambda each: each.start)
            message = "`jwksUri` and `jwks_uri` are the same field"
            self._problems.error("two-key-sets", message, at.span, help="keep `jwksUri`")
        return snake if camel is None else camel

    def _uri(self, node: Node | None) -> str:
        text = self._filled(node, "jwksUri")
        if node is not None and text and not self._decoder.broken(node) and (fault := _uri_fault(text)) is not None:
            # R3, R13
            remedy = "write where the keys are, as `https://…`"
            self._problems.error("bad-uri", f"{quoted(text)} is {fault}", node.span, help=remedy)
        return text

    def _key_set(self, node: Node | None) -> str:
        if node is not None and not isinstance(node, Scalar):
            self._decoder.expected("a string", "jwks", node, help="write the key set as JSON text, below `jwks: |`")
            return ""
        text = self._filled(node, "jwks")
        if node is None or not text or self._decoder.broken(node):
            return text
        try:
            shape = check_key_set(text)
        except KeySetError as error:
            # R4
            message = f"the value of `jwks` is {error}"
            self._problems.error(
                "bad-key-set", message, node.span, help='write a JWK Set, as the issuer publishes it: {"keys": […]}'
            )
            return text
        if shape.secret:
            # R5
            which = ", ".join(map(str, shape.secret[:_FEW])) + (", …" if len(shape.secret) > _FEW else "")
            self._problems.add(
                Diagnostic(
                    "secret-key",
                    f"`jwks` holds secrets of the issuer, in the keys with index {which}",
                    node.span,
                    help="publish only public keys, and take these out of use: whoever reads the policy can sign tokens",
                    severity=Severity.WARNING,
                    excerpt=False,
                )
            )
        if not shape.keys:
            self._problems.warning(
                "no-keys", "`jwks` has no keys, so every token is refused", node.span, help="add the issuer's keys"
            )
        return text

    # Headers and the rest --------------------------------------------------------------------------------------------

    def _location(self, node: Node, name: str) -> TokenHeader:
        fields = self._decoder.fields(node, name, ("name", "prefix"))
        self._needs(node, fields.get("name"), name, "name")  # R6
        return TokenHeader(
            name=self._header(fields.get("name"), f"{name}.name", _HEADER),
            prefix=self._decoder.text(fields.get("prefix"), f"{name}.prefix"),
        )

    def _output(self, node: Node, name: str) -> ClaimToHeader:
        fields = self._decoder.fields(node, name, ("header", "claim"))
        for field in ("header", "claim"):
            self._needs(node, fields.get(field), name, field)  # R9
        return ClaimToHeader(
            header=self._header(fields.get("header"), f"{name}.header", _CLAIM_HEADER),
            claim=self._filled(fields.get("claim"), f"{name}.claim"),
        )

    def _needs(self, node: Node, value: Node | None, name: str, field: str) -> None:
        if value is None and not self._decoder.broken(node):
            message = f"`{name}` has an entry without `{field}`"
            self._problems.error("missing-field", message, node.span, help=f"add `{field}`, or remove the entry")

    def _header(self, node: Node | None, name: str, form: re.Pattern[str]) -> str:
        text = self._filled(node, name)
        if node is not None and text and not self._decoder.broken(node) and not form.fullmatch(text):
            # R10
            alphabet = "letters, digits, `-` and `_`"
            self._problems.error(
                "bad-header",
                f"{quoted(text)} in `{name}` is not the name of a header",
                node.span,
                help=f"use {alphabet}",
            )
        return text

    def _timeout(self, node: Node | None) -> float:
        if node is None:
            return JwtRule().timeout
        remedy = "write it in whole milliseconds, `500ms` or `5s`"
        value = node.value if isinstance(node, Scalar) else None
        if not isinstance(value, str):
            self._decoder.expected("a duration", "timeout", node, help=remedy)
            return JwtRule().timeout
        nanoseconds = parse_duration(value)
        if nanoseconds is None:
            # M7
            self._problems.error("bad-duration", f"{quoted(value)} is not a duration", node.span, help=remedy)
            return JwtRule().timeout
        if nanoseconds < _MILLISECOND or nanoseconds % _MILLISECOND:
            # R11
            fault = "shorter than a millisecond" if nanoseconds < _MILLISECOND else "finer than milliseconds"
            self._problems.error("bad-duration", f"the timeout {quoted(value)} is {fault}", node.span, help=remedy)
        return nanoseconds / NANOSECONDS

    def _presence(self, node: Node | None) -> Presence:
        # R13
        chosen = None if node is None else self._decoder.choice(node, "presence", (each.value for each in Presence))
        presence = Presence.OPTIONAL if chosen is None else Presence(chosen)
        if presence is Presence.REQUIRED and node is not None:
            # 4.9
            self._problems.warning(
                "presence-not-enforced",
                "Istio takes `presence: REQUIRED` and does not act on it: a request without a token still goes on",
                node.span,
                help='deny it with an AuthorizationPolicy: action DENY, `notRequestPrincipals: ["*"]`',
            )
        return presence


_FEW = 5


def _uri_fault(text: str) -> str | None:
    """What is wrong with where keys should be fetched from."""
    if len(text) > _LONGEST_URI:
        return f"longer than {_LONGEST_URI} characters"
    # The standard library passes over some of these without a word, and strips others.
    if _NOT_IN_URIS.search(text):
        return "not a URI: it has a space or a control character"
    try:
        parts = urlsplit(text)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        return "not a URI"
    if parts.scheme not in ("http", "https"):
        return "neither http nor https"
    return None if host else "a URI without a host"
