"""The tables. `migrations` makes them; a test holds the two to the same."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    text,
)

__all__ = [
    "AUDIT_HEAD",
    "CLOCK",
    "ENTRIES_REVISION",
    "MICROSECOND",
    "REVOCATIONS",
    "acknowledgements",
    "answers",
    "audit",
    "authorities",
    "entries",
    "entry_changes",
    "entry_selectors",
    "federated_bundles",
    "heads",
    "issued",
    "join_tokens",
    "metadata",
    "slots",
    "to_moment",
    "to_number",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def to_number(moment: datetime) -> int:
    """Microseconds since 1970: sorts the same in every database, and loses nothing."""
    return (moment - _EPOCH) // MICROSECOND


def to_moment(number: int) -> datetime:
    """The moment that `to_number` was given, in UTC."""
    return _EPOCH + timedelta(microseconds=number)


class Moment(TypeDecorator[datetime]):
    """A moment as `to_number` writes it. One without a time zone is a caller's mistake."""

    impl = BigInteger
    cache_ok = True

    @property
    def python_type(self) -> type[datetime]:
        """What it reads as."""
        return datetime

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002  # the library's
        """To the database."""
        return None if value is None else to_number(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002  # the library's
        """From the database."""
        return None if value is None else to_moment(value)


# SQLite counts its rows in a column of exactly this type.
_NUMBER = BigInteger().with_variant(Integer, "sqlite")
# Names are compared as bytes, whatever the language of the database: prefixes and pages rely on their order.
_NAME = Text().with_variant(Text(collation="C"), "postgresql")

metadata = MetaData()

AUDIT_HEAD, CLOCK, ENTRIES_REVISION, REVOCATIONS = "audit", "clock", "entries", "revocations"
heads = Table(
    "heads",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
    Column("hash", LargeBinary),
)

entries = Table(
    "entries",
    metadata,
    Column("number", _NUMBER, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("spiffe_id", _NAME, nullable=False),
    Column("selectors_sha256", LargeBinary, nullable=False),
    Column("selectors", Text, nullable=False),
    Column("ttl", BigInteger),
    Column("jwt_ttl", BigInteger),
    Column("dns_names", Text, nullable=False),
    Column("federates_with", Text, nullable=False),
    Column("admin", Boolean, nullable=False),
    Column("hint", Text, nullable=False),
    Column("created", Moment, nullable=False),
    # One entry a name and set of selectors: what they give twice could contradict itself.
    Index("entries_by_name", "spiffe_id", "selectors_sha256", unique=True),
    sqlite_autoincrement=True,
)
entry_selectors = Table(
    "entry_selectors",
    metadata,
    Column("selector", _NAME, primary_key=True),
    Column("entry", _NUMBER, ForeignKey("entries.number", ondelete="CASCADE"), primary_key=True),
    Index("entry_selectors_by_entry", "entry"),
)
entry_changes = Table(
    "entry_changes",
    metadata,
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False),
)

join_tokens = Table(
    "join_tokens",
    metadata,
    Column("number", _NUMBER, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("token_sha256", LargeBinary, nullable=False, unique=True),
    Column("spiffe_id", _NAME, nullable=False),
    Column("created", Moment, nullable=False),
    Column("expires", Moment, nullable=False),
    Column("used", Moment),
    sqlite_autoincrement=True,
)

issued = Table(
    "issued",
    metadata,
    Column("number", _NUMBER, primary_key=True),
    Column("serial", Text, nullable=False),
    Column("spiffe_id", _NAME, nullable=False),
    Column("kind", Text, nullable=False),
    Column("issuer", _NAME, nullable=False),
    Column("not_before", Moment, nullable=False),
    Column("not_after", Moment, nullable=False),
    Column("spki_sha256", LargeBinary),
    Column("entry", Text),
    Column("caller", Text, nullable=False),
    Column("intended", Moment, nullable=False),
    Column("released", Moment),
    Column("revoked", Moment),
    Column("revoked_reason", Text),
    CheckConstraint("(revoked IS NULL) = (revoked_reason IS NULL)", name="issued_revoked_has_reason"),
    Index("issued_by_serial", "serial", unique=True),
    Index("issued_by_name", "spiffe_id", "number"),
    Index(
        "issued_by_key",
        "spki_sha256",
        sqlite_where=text("spki_sha256 IS NOT NULL"),
        postgresql_where=text("spki_sha256 IS NOT NULL"),
    ),
    Index("issued_by_end", "not_after", "number"),
    Index("issued_by_start", "intended", "number"),
    # The last to expire of an issuer stands at the end, however many of its certificates were revoked.
    Index(
        "issued_by_issuer",
        "issuer",
        "not_after",
        "number",
        sqlite_where=text("revoked IS NULL"),
        postgresql_where=text("revoked IS NULL"),
    ),
    Index(
        "issued_revoked",
        "issuer",
        "not_after",
        "number",
        sqlite_where=text("revoked IS NOT NULL"),
        postgresql_where=text("revoked IS NOT NULL"),
    ),
    sqlite_autoincrement=True,
)

answers = Table(
    "answers",
    metadata,
    Column("caller", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_sha256", LargeBinary, nullable=False),
    Column("answer", LargeBinary, nullable=False),
    # A day before it is good no more, which is when it was given or earlier.
    Column("given", Moment, nullable=False),
    Index("answers_by_age", "given"),
)

authorities = Table(
    "authorities",
    metadata,
    Column("trust_domain", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("seen", Moment),
)
slots = Table(
    "slots",
    metadata,
    Column("id", Text, primary_key=True),
    Column("trust_domain", Text, ForeignKey("authorities.trust_domain"), nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("phase", Text, nullable=False),
    Column("pace", Text, nullable=False),
    Column("public", LargeBinary, nullable=False),
    Column("key_name", Text),
    Column("issuer", Text),
    Column("published", BigInteger, nullable=False),
    Column("made", Moment, nullable=False),
    Column("not_before", Moment, nullable=False),
    Column("not_after", Moment, nullable=False),
    Column("activated", Moment),
    Column("superseded", Moment),
    Column("tainted", Moment),
    Column("retired", Moment),
)
acknowledgements = Table(
    "acknowledgements",
    metadata,
    Column("consumer", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("seen", Moment, nullable=False),
    Index("acknowledgements_by_age", "seen"),
)

# The sequence is in the document: it may be larger than what a database counts.
federated_bundles = Table(
    "federated_bundles",
    metadata,
    Column("trust_domain", _NAME, primary_key=True),
    Column("document", LargeBinary, nullable=False),
    Column("fetched", Moment, nullable=False),
    Column("changed", Moment, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("number", _NUMBER, primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("serial", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)
