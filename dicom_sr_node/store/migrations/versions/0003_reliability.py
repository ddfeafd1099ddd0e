"""Priorities, purge, storage commitment, destinations that are given a rest, refused callers, audit trail."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def _leased() -> list[sa.Column[object]]:
    return [
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("lost", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("priority", sa.Integer(), nullable=False, server_default="1"),
        sa.Column("run_at", sa.Float(), nullable=False),
        sa.Column("lease_until", sa.Float(), nullable=False),
        sa.Column("worker", sa.String(length=128), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
    ]


def upgrade() -> None:
    op.add_column("instance", sa.Column("patient_id", sa.String(length=64), nullable=False, server_default=""))
    op.add_column("instance", sa.Column("held", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("instance", sa.Column("purged_at", sa.Float(), nullable=False, server_default="0"))
    op.create_index("ix_instance_purged_at_received_at", "instance", ["purged_at", "received_at"])

    for table in ("job", "delivery"):
        op.add_column(table, sa.Column("lost", sa.Integer(), nullable=False, server_default="0"))
        op.add_column(table, sa.Column("priority", sa.Integer(), nullable=False, server_default="1"))
        op.drop_index(f"ix_{table}_state_run_at_id", table)
    op.create_index("ix_job_state_priority_run_at_id", "job", ["state", "priority", "run_at", "id"])

    op.create_table(
        "commitment",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("transaction_uid", sa.String(length=64), nullable=False),
        sa.Column("destination", sa.String(length=64), nullable=False),
        sa.Column("sent_at", sa.Float(), nullable=False),
        sa.Column("reported_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_commitment"),
        sa.UniqueConstraint("transaction_uid", name="uq_commitment_transaction_uid"),
    )
    with op.batch_alter_table("delivery") as delivery:
        delivery.add_column(sa.Column("commitment_id", sa.Integer(), nullable=True))
        delivery.add_column(sa.Column("commit_at", sa.Float(), nullable=False, server_default="0"))
        delivery.add_column(sa.Column("commit_tries", sa.Integer(), nullable=False, server_default="0"))
        delivery.create_foreign_key("fk_delivery_commitment_id", "commitment", ["commitment_id"], ["id"])
        delivery.create_index("ix_delivery_commitment_id", ["commitment_id"])
        delivery.create_index(
            "ix_delivery_destination_state_priority_run_at_id", ["destination", "state", "priority", "run_at", "id"]
        )

    op.create_table(
        "asked",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("transaction_uid", sa.String(length=64), nullable=False),
        sa.Column("calling_ae", sa.String(length=16), nullable=False),
        sa.Column("references", sa.Text(), nullable=False),
        *_leased(),
        sa.PrimaryKeyConstraint("id", name="pk_asked"),
        sa.UniqueConstraint("transaction_uid", "calling_ae", name="uq_asked_transaction_uid_calling_ae"),
    )
    op.create_index("ix_asked_state_priority_run_at_id", "asked", ["state", "priority", "run_at", "id"])
    op.create_table(
        "destination",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("closed_until", sa.Float(), nullable=False),
        sa.Column("delivered_at", sa.Float(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_destination"),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        *_leased(),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_index("ix_audit_state_priority_run_at_id", "audit", ["state", "priority", "run_at", "id"])
    op.create_table(
        "refused",
        sa.Column("calling_ae", sa.String(length=16), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("why", sa.String(length=128), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("last_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("calling_ae", "address", "why", name="pk_refused"),
    )
