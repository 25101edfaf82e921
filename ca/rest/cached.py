"""Documents that many fetch again and again: an answer says which it is, and who has that one already gets nothing more."""

from collections.abc import Mapping

from fastapi import Request, Response

__all__ = ["versioned"]


def versioned(
    request: Request, content: bytes, *, tag: str, media_type: str, headers: Mapping[str, str] | None = None
) -> Response:
    """`content`, whose version is `tag`, or 304 for who has that (RFC 9110 13.1.2).

    Caches may keep it and have to ask every time: what they hold for minutes is what a rotation would have to wait for.
    """
    said = {"ETag": f'"{tag}"', "Cache-Control": "no-cache", **(headers or {})}
    known = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
    if f'"{tag}"' in known or known == ["*"]:
        return Response(status_code=304, headers=said)
    return Response(content, headers=said, media_type=media_type)
