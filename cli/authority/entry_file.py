"""Entries as a file: a JSON object a line, to be kept in a repository and applied."""

from dataclasses import replace
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict, ValidationError

from ca.entries import Entry
from ca.errors import InvalidSelectorError
from ca.selector import Selector
from cli.authority.durations import parse_duration
from cli.command import UsageError
from identity import IdentityError, SpiffeId, TrustDomain

__all__ = ["read_entries"]


class _Line(BaseModel):
    """An entry as it is written; `id` and `created` are taken and mean nothing."""

    model_config = ConfigDict(extra="forbid", strict=True)

    spiffe_id: str
    selectors: list[str]
    ttl: str | None = None
    jwt_ttl: str | None = None
    dns_names: list[str] = []
    federates_with: list[str] = []
    admin: bool | None = None
    hint: str | None = None
    id: str | None = None
    created: str | None = None

    def entry(self, at: datetime) -> Entry:
        return replace(
            Entry.new(SpiffeId.parse(self.spiffe_id), map(Selector.parse, self.selectors), at=at),
            ttl=_duration(self.ttl),
            jwt_ttl=_duration(self.jwt_ttl),
            dns_names=tuple(self.dns_names),
            federates_with=frozenset(map(TrustDomain.parse, self.federates_with)),
            admin=bool(self.admin),
            hint=self.hint or "",
        )


def read_entries(lines: bytes, trust_domain: TrustDomain, *, at: datetime) -> list[Entry]:
    """The entries of a file, all of `trust_domain`, as made at `at`.

    Raises:
        UsageError: a line says something that cannot be; which, and what.
    """
    found = []
    for number, line in enumerate(lines.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            entry = _Line.model_validate_json(line).entry(at)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = "".join(f"`{step}`: " for step in first["loc"])
            raise UsageError(f"line {number}: {place}{first['msg']}") from error
        except (ValueError, InvalidSelectorError, IdentityError) as error:
            raise UsageError(f"line {number}: {error}") from error
        if entry.spiffe_id.trust_domain != trust_domain:
            raise UsageError(f"line {number}: {entry.spiffe_id} is not of the trust domain {trust_domain}")
        found.append(entry)
    return found


def _duration(text: str | None) -> timedelta | None:
    return None if text is None else parse_duration(text)
