"""Why a job was skipped, the numbers of its quality gate, and outputs of several kinds."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("job", sa.Column("skipped", sa.String(length=32), nullable=False, server_default=""))
    op.add_column("job", sa.Column("quality", sa.Text(), nullable=False, server_default=""))
    op.add_column("output", sa.Column("kind", sa.String(length=16), nullable=False, server_default="image"))
