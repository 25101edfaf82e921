"""The tables of the first version."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make them, with the counters at nothing and the audit guarded."""
    op.create_table(
        "heads",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary()),
    )
    op.create_table(
        "entries",
        sa.Column("number", NUMBER, primary_key=True),
        sa.Column("id", sa.Text(), nullable=False, unique=True),
        sa.Column("spiffe_id", NAME, nullable=False),
        sa.Column("selectors_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("selectors", sa.Text(), nullable=False),
        sa.Column("ttl", sa.BigInteger()),
        sa.Column("jwt_ttl", sa.BigInteger()),
        sa.Column("dns_names", sa.Text(), nullable=False),
        sa.Column("federates_with", sa.Text(), nullable=False),
        sa.Column("admin", sa.Boolean(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("entries_by_name", "entries", ["spiffe_id", "selectors_sha256"], unique=True)
    op.create_table(
        "entry_selectors",
        sa.Column("selector", NAME, primary_key=True),
        sa.Column("entry", NUMBER, sa.ForeignKey("entries.number", ondelete="CASCADE"), primary_key=True),
    )
    op.create_index("entry_selectors_by_entry", "entry_selectors", ["entry"])
    op.create_table(
        "entry_changes",
        sa.Column("revision", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("id", sa.Text(), nullable=False),
    )
    op.create_table(
        "join_tokens",
        sa.Column("number", NUMBER, primary_key=True),
        sa.Column("id", sa.Text(), nullable=False, unique=True),
        sa.Column("token_sha256", sa.LargeBinary(), nullable=False, unique=True),
        sa.Column("spiffe_id", NAME, nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.BigInteger()),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "issued",
        sa.Column("number", NUMBER, primary_key=True),
        sa.Column("serial", sa.Text(), nullable=False),
        sa.Column("spiffe_id", NAME, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("issuer", NAME, nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=False),
        sa.Column("not_after", sa.BigInteger(), nullable=False),
        sa.Column("spki_sha256", sa.LargeBinary()),
        sa.Column("entry", sa.Text()),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("intended", sa.BigInteger(), nullable=False),
        sa.Column("released", sa.BigInteger()),
        sa.Column("revoked", sa.BigInteger()),
        sa.Column("revoked_reason", sa.Text()),
        sa.CheckConstraint("(revoked IS NULL) = (revoked_reason IS NULL)", name="issued_revoked_has_reason"),
        sqlite_autoincrement=True,
    )
    op.create_index("issued_by_end", "issued", ["not_after", "number"])
    op.create_index(
        "issued_by_issuer",
        "issued",
        ["issuer", "not_after", "number"],
        sqlite_where=sa.text("revoked IS NULL"),
        postgresql_where=sa.text("revoked IS NULL"),
    )
    op.create_index(
        "issued_by_key",
        "issued",
        ["spki_sha256"],
        sqlite_where=sa.text("spki_sha256 IS NOT NULL"),
        postgresql_where=sa.text("spki_sha256 IS NOT NULL"),
    )
    op.create_index("issued_by_name", "issued", ["spiffe_id", "number"])
    op.create_index("issued_by_serial", "issued", ["serial"], unique=True)
    op.create_index("issued_by_start", "issued", ["intended", "number"])
    op.create_index(
        "issued_revoked",
        "issued",
        ["issuer", "not_after", "number"],
        sqlite_where=sa.text("revoked IS NOT NULL"),
        postgresql_where=sa.text("revoked IS NOT NULL"),
    )
    op.create_table(
        "answers",
        sa.Column("caller", sa.Text(), primary_key=True),
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("request_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("given", sa.BigInteger(), nullable=False),
    )
    op.create_index("answers_by_age", "answers", ["given"])
    op.create_table(
        "authorities",
        sa.Column("trust_domain", sa.Text(), primary_key=True),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("seen", sa.BigInteger()),
    )
    op.create_table(
        "slots",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("trust_domain", sa.Text(), sa.ForeignKey("authorities.trust_domain"), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("pace", sa.Text(), nullable=False),
        sa.Column("public", sa.LargeBinary(), nullable=False),
        sa.Column("key_name", sa.Text()),
        sa.Column("issuer", sa.Text()),
        sa.Column("published", sa.BigInteger(), nullable=False),
        sa.Column("made", sa.BigInteger(), nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=False),
        sa.Column("not_after", sa.BigInteger(), nullable=False),
        sa.Column("activated", sa.BigInteger()),
        sa.Column("superseded", sa.BigInteger()),
        sa.Column("tainted", sa.BigInteger()),
        sa.Column("retired", sa.BigInteger()),
    )
    op.create_table(
        "acknowledgements",
        sa.Column("consumer", sa.Text(), primary_key=True),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("seen", sa.BigInteger(), nullable=False),
    )
    op.create_index("acknowledgements_by_age", "acknowledgements", ["seen"])
    op.create_table(
        "federated_bundles",
        sa.Column("trust_domain", NAME, primary_key=True),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("fetched", sa.BigInteger(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "audit",
        sa.Column("number", NUMBER, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("serial", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
    )
    heads = sa.table("heads", sa.column("name"), sa.column("value"), sa.column("hash", sa.LargeBinary()))
    op.bulk_insert(
        heads,
        [
            {"name": "audit", "value": 0, "hash": bytes(32)},
            {"name": "clock", "value": 0, "hash": None},
            {"name": "entries", "value": 0, "hash": None},
            {"name": "revocations", "value": 0, "hash": None},
        ],
    )
    # A second fence: the chain shows what was changed, and these stop it from being changed by mistake.
    if op.get_bind().dialect.name == "sqlite":
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_no_{change.lower()} BEFORE {change} ON audit "
                "BEGIN SELECT RAISE(ABORT, 'the audit chain is only ever appended to'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION audit_is_appended_to() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the audit chain is only ever appended to'; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_is_appended_to()"
    )
