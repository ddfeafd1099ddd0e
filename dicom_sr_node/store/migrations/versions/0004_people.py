"""What people search by, the weights in service and their comparisons, accounts and passes, alarms."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    for name, length in (
        ("patient_name", 200),
        ("accession", 64),
        ("study_date", 8),
        ("body_part", 16),
        ("called_ae", 16),
    ):
        op.add_column("instance", sa.Column(name, sa.String(length=length), nullable=False, server_default=""))
    op.create_index("ix_instance_calling_ae_received_at", "instance", ["calling_ae", "received_at"])
    op.create_table(
        "service",
        sa.Column("role", sa.String(length=8), nullable=False),
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("share", sa.Float(), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("role", name="pk_service"),
    )
    op.create_table(
        "comparison",
        sa.Column("output_id", sa.Integer(), nullable=False),
        sa.Column("numbers", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["output_id"], ["output.id"], name="fk_comparison_output_id"),
        sa.PrimaryKeyConstraint("output_id", name="pk_comparison"),
    )
    op.create_table(
        "account",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("password", sa.Text(), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_account"),
    )
    op.create_table(
        "pass",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("note", sa.String(length=64), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("until", sa.Float(), nullable=False),
        sa.Column("seen_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_pass"),
    )
    op.create_index("ix_pass_kind_account", "pass", ["kind", "account"])
    op.create_table(
        "alarm",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("told_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "subject", name="pk_alarm"),
    )
