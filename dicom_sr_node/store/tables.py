"""The schema. Changed by migrations only; a test holds the two against each other."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
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
    false,
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
        Column("lost", Integer, nullable=False, server_default="0"),
        Column("priority", Integer, nullable=False, server_default="1"),
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
    Column("patient_id", String(64), nullable=False, server_default=""),
    Column("patient_name", String(200), nullable=False, server_default=""),
    Column("accession", String(64), nullable=False, server_default=""),
    Column("study_date", String(8), nullable=False, server_default=""),
    Column("body_part", String(16), nullable=False, server_default=""),
    Column("transfer_syntax_uid", String(64), nullable=False),
    Column("calling_ae", String(16), nullable=False),
    Column("called_ae", String(16), nullable=False, server_default=""),
    Column("file", String(32), nullable=False, unique=True),
    Column("sha256", String(64), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("received_at", Float, nullable=False),
    Column("held", Boolean, nullable=False, server_default=false()),
    Column("purged_at", Float, nullable=False, server_default="0"),
    UniqueConstraint("sop_instance_uid", "sha256"),
    Index(None, "purged_at", "received_at"),
    Index(None, "calling_ae", "received_at"),
)

arrival = Table(  # who sent an image again while it was worked on: it is judged anew after that
    "arrival",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("instance_id", ForeignKey("instance.id"), nullable=False, index=True),
    Column("calling_ae", String(16), nullable=False),
    Column("called_ae", String(16), nullable=False),
)

job = Table(
    "job",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("instance_id", ForeignKey("instance.id"), nullable=False, unique=True),
    *_leased(),
    Column("skipped", String(32), nullable=False, server_default=""),
    Column("quality", Text, nullable=False, server_default=""),
    Index(None, "state", "priority", "run_at", "id"),
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
    Column("purged_at", Float, nullable=False, server_default="0"),
    Column("source_pixels", String(64), nullable=False, server_default=""),
    Column("whose", String(64), nullable=False, server_default=""),
    Column("superseded_by", Integer, nullable=False, server_default="0", index=True),
)

delivery = Table(
    "delivery",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("output_id", ForeignKey("output.id"), nullable=False),
    Column("destination", String(64), nullable=False),
    *_leased(),
    Column("since", Float, nullable=False, server_default="0"),
    Column("doubts", Integer, nullable=False, server_default="0"),
    Column("commitment_id", ForeignKey("commitment.id"), index=True),
    Column("commit_at", Float, nullable=False, server_default="0"),
    Column("commit_tries", Integer, nullable=False, server_default="0"),
    UniqueConstraint("output_id", "destination"),
    Index(None, "destination", "state", "priority", "run_at", "id"),
)

commitment = Table(  # our requests to peers
    "commitment",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("transaction_uid", String(64), nullable=False, unique=True),
    Column("destination", String(64), nullable=False),
    Column("sent_at", Float, nullable=False),
    Column("reported_at", Float, nullable=False),
)

asked = Table(  # requests of peers to us
    "asked",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("transaction_uid", String(64), nullable=False),
    Column("calling_ae", String(16), nullable=False),
    Column("references", Text, nullable=False),
    *_leased(),
    Column("address", String(64), nullable=False, server_default=""),
    Column("since", Float, nullable=False, server_default="0"),
    UniqueConstraint("transaction_uid", "calling_ae"),
    Index(None, "state", "priority", "run_at", "id"),
)

destination = Table(  # how each one fares: the circuit breaker
    "destination",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("closed_until", Float, nullable=False),
    Column("delivered_at", Float, nullable=False),
    Column("reason", Text, nullable=False),
)

audit = Table(  # messages on their way to the audit trail
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("message", Text, nullable=False),
    *_leased(),
    Index(None, "state", "priority", "run_at", "id"),
)

refused = Table(  # callers that were turned away
    "refused",
    metadata,
    Column("calling_ae", String(16), primary_key=True),
    Column("address", String(64), primary_key=True),
    Column("why", String(128), primary_key=True),
    Column("times", Integer, nullable=False),
    Column("last_at", Float, nullable=False),
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

service = Table(  # which weights are in service
    "service",
    metadata,
    Column("role", String(8), primary_key=True),
    Column("model", String(64), nullable=False),
    Column("previous", String(64), nullable=False),
    Column("share", Float, nullable=False),
    Column("since", Float, nullable=False),
)

comparison = Table(  # of a shadow's result with the one that was sent
    "comparison",
    metadata,
    Column("output_id", ForeignKey("output.id"), primary_key=True),
    Column("numbers", Text, nullable=False),
)

account = Table(  # people who may look in
    "account",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("role", String(16), nullable=False),
    Column("password", Text, nullable=False),
    Column("since", Float, nullable=False),
)

pass_ = Table(  # what lets somebody in: a session of the dashboard, a token of the REST interface, a setup link
    "pass",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("kind", String(8), nullable=False),
    Column("account", String(64), nullable=False),
    Column("role", String(16), nullable=False),
    Column("note", String(64), nullable=False),
    Column("since", Float, nullable=False),
    Column("until", Float, nullable=False),
    Column("seen_at", Float, nullable=False),
    Index(None, "kind", "account"),
)

alarm = Table(  # what somebody must be told
    "alarm",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("subject", String(64), primary_key=True),
    Column("text", Text, nullable=False),
    Column("since", Float, nullable=False),
    Column("told_at", Float, nullable=False),
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
