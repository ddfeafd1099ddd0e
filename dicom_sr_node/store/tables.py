"""The schema. Changed by migrations only; a test holds the two against each other."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _leased() -> list[Column[object]]:
    """The columns of a table whose rows are claimed by workers."""
    return [
        Column("state", String(8), nullable=False),
        Column("attempt", Integer, nullable=False),
        Column("failures", Integer, nullable=False),
        Column("run_at", Float, nullable=False),
        Column("lease_until", Float, nullable=False),
        Column("worker", String(128), nullable=False),
        Column("reason", Text, nullable=False),
        Column("updated_at", Float, nullable=False),
    ]


instance = Table(
    "instance",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sop_class_uid", String(64), nullable=False),
    Column("sop_instance_uid", String(64), nullable=False),
    Column("study_uid", String(64), nullable=False),
    Column("series_uid", String(64), nullable=False),
    Column("modality", String(16), nullable=False),
    Column("transfer_syntax_uid", String(64), nullable=False),
    Column("calling_ae", String(16), nullable=False),
    Column("file", String(32), nullable=False, unique=True),
    Column("sha256", String(64), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("received_at", Float, nullable=False),
    UniqueConstraint("sop_instance_uid", "sha256"),
)

job = Table(
    "job",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("instance_id", ForeignKey("instance.id"), nullable=False, unique=True),
    *_leased(),
    Column("skipped", String(32), nullable=False, server_default=""),
    Column("quality", Text, nullable=False, server_default=""),
    Index(None, "state", "run_at", "id"),
)

output = Table(
    "output",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job_id", ForeignKey("job.id"), nullable=False, index=True),
    Column("kind", String(16), nullable=False, server_default="image"),
    Column("sop_class_uid", String(64), nullable=False),
    Column("sop_instance_uid", String(64), nullable=False, unique=True),
    Column("series_uid", String(64), nullable=False),
    Column("file", String(32), nullable=False, unique=True),
    Column("sha256", String(64), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("model", String(128), nullable=False),
    Column("scale", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
)

delivery = Table(
    "delivery",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("output_id", ForeignKey("output.id"), nullable=False),
    Column("destination", String(64), nullable=False),
    *_leased(),
    UniqueConstraint("output_id", "destination"),
    Index(None, "state", "run_at", "id"),
)

event = Table(
    "event",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("instance_id", ForeignKey("instance.id"), nullable=False, index=True),
    Column("at", Float, nullable=False),
    Column("what", String(32), nullable=False),
    Column("text", Text, nullable=False),
)

slot = Table(
    "slot",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("pid", Integer, nullable=False),
    Column("note", Text, nullable=False),
    Column("since", Float, nullable=False),
    Column("seen_at", Float, nullable=False),
)
