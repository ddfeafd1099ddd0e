"""Who sends an image again while it is worked on; results whose files are gone; how long a peer takes its time."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "arrival",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("instance_id", sa.Integer(), nullable=False),
        sa.Column("calling_ae", sa.String(length=16), nullable=False),
        sa.Column("called_ae", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(["instance_id"], ["instance.id"], name="fk_arrival_instance_id"),
        sa.PrimaryKeyConstraint("id", name="pk_arrival"),
    )
    op.create_index("ix_arrival_instance_id", "arrival", ["instance_id"])
    op.add_column("output", sa.Column("purged_at", sa.Float(), nullable=False, server_default="0"))
    op.add_column("output", sa.Column("source_pixels", sa.String(length=64), nullable=False, server_default=""))
    op.add_column("output", sa.Column("whose", sa.String(length=64), nullable=False, server_default=""))
    op.add_column("output", sa.Column("superseded_by", sa.Integer(), nullable=False, server_default="0"))
    op.create_index("ix_output_superseded_by", "output", ["superseded_by"])
    op.execute(
        "UPDATE output SET purged_at = (SELECT instance.purged_at FROM instance JOIN job"
        " ON job.instance_id = instance.id WHERE job.id = output.job_id)"
    )
    op.add_column("delivery", sa.Column("since", sa.Float(), nullable=False, server_default="0"))
    op.add_column("delivery", sa.Column("doubts", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("asked", sa.Column("address", sa.String(length=64), nullable=False, server_default=""))
    op.add_column("asked", sa.Column("since", sa.Float(), nullable=False, server_default="0"))
    op.execute("UPDATE asked SET since = updated_at")
