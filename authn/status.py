"""What the verification of a request's tokens comes to, in the words in which Envoy tells the caller (semantics 4.5)."""

from enum import Enum

__all__ = ["MAX_TOKEN", "JwtStatus"]

MAX_TOKEN = 16 * 1024
"""The longest token that is looked at, in characters. Nothing of a longer one is decoded (CVE-2024-33664, CVE-2025-61920)."""


class JwtStatus(Enum):
    """Why a request is not authenticated; the value is the text for the caller.

    That a token is missing is no reason: a policy may say so (semantics 4.4).

    The last three are meshward's own: Envoy has no limit but that on all headers, knows no critical extensions and so takes
    every one, and sends a claim that no header can hold as far as the upstream's codec, which answers 503.
    """

    NOT_YET_VALID = "Jwt not yet valid"
    EXPIRED = "Jwt is expired"
    BAD_FORMAT = "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"
    HEADER_BAD_BASE64 = "Jwt header is an invalid Base64url encoded"
    HEADER_BAD_JSON = "Jwt header is an invalid JSON"
    HEADER_BAD_ALG = "Jwt header [alg] field is required and must be a string"
    HEADER_UNKNOWN_ALG = "Jwt header [alg] is not supported"
    HEADER_BAD_KID = "Jwt header [kid] field is not a string"
    PAYLOAD_BAD_BASE64 = "Jwt payload is an invalid Base64url encoded"
    PAYLOAD_BAD_JSON = "Jwt payload is an invalid JSON"
    ISS_NOT_STRING = "Jwt payload [iss] field is not a string"
    SUB_NOT_STRING = "Jwt payload [sub] field is not a string"
    IAT_NOT_INTEGER = "Jwt payload [iat] field is not an integer"
    IAT_OUT_OF_RANGE = "Jwt payload [iat] field is not a positive 64 bit integer"
    NBF_NOT_INTEGER = "Jwt payload [nbf] field is not an integer"
    NBF_OUT_OF_RANGE = "Jwt payload [nbf] field is not a positive 64 bit integer"
    EXP_NOT_INTEGER = "Jwt payload [exp] field is not an integer"
    EXP_OUT_OF_RANGE = "Jwt payload [exp] field is not a positive 64 bit integer"
    JTI_NOT_STRING = "Jwt payload [jti] field is not a string"
    AUD_NOT_STRINGS = "Jwt payload [aud] field is not a string or string list"
    SIGNATURE_BAD_BASE64 = "Jwt signature is an invalid Base64url encoded"
    ED25519_SIGNATURE_LENGTH = "Jwt ED25519 signature is wrong length"
    UNKNOWN_ISSUER = "Jwt issuer is not configured"
    AUDIENCE_NOT_ALLOWED = "Audiences in Jwt are not allowed"
    NO_VALID_KEYS = "Jwks doesn't have any valid public key"
    KEYS_UNAVAILABLE = "Jwks remote fetch is failed"
    NO_MATCHING_KEY = "Jwks doesn't have key to match kid or alg from Jwt"
    VERIFICATION_FAILED = "Jwt verification fails"
    TOO_LONG = f"Jwt is longer than {MAX_TOKEN} characters"
    CRITICAL_EXTENSION = "Jwt header [crit] is not supported"
    UNSENDABLE = "Jwt claim or payload does not fit into a header"

    @property
    def http_status(self) -> int:
        """The HTTP status that the caller gets."""
        match self:
            case JwtStatus.AUDIENCE_NOT_ALLOWED:
                return 403
            case JwtStatus.UNSENDABLE:
                return 503
            case _:
                return 401
