"""What must hold in the database, as queries for what breaks it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine, Select, Table, exists, func, literal, select

from dicom_sr_node.domain.records import JobState, OutputKind
from dicom_sr_node.store.engine import now, reading
from dicom_sr_node.store.tables import asked, audit, delivery, instance, job, output

_OVERDUE_S = 600  # a lease that ran out so long ago should have been taken over


@dataclass(frozen=True)
class File:
    """A file that a row refers to."""

    name: str
    bytes: int
    sha256: str
    whose: str  # for people


class Invariants:
    """Questions to one database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def received(self) -> list[File]:
        """The files of all images that are not purged."""
        rows = select(instance.c.file, instance.c.bytes, instance.c.sha256, instance.c.id)
        return self._files(rows.where(instance.c.purged_at == 0), "image")

    def derived(self) -> list[File]:
        """The files of all results that are not purged."""
        rows = select(output.c.file, output.c.bytes, output.c.sha256, output.c.id)
        return self._files(rows.where(output.c.purged_at == 0), "output")

    def broken(self) -> list[str]:
        """One line for each row that breaks an invariant."""
        violations: list[str] = []
        for statement, sentence in (
            (self._images_without_job(), "I1 image {} has no job"),
            (self._done_without_image(), "I2 job {} is done without a derived image"),
            (self._twice_derived(), "I2 job {} has more than one derived image for one destination"),
            (self._skipped_with_output(), "I2 job {} is skipped and has an output"),
            (self._outputs_without_delivery(), "I3 output {} has no delivery"),
            *((self._overdue(table), f"I5 {table.name} {{}} is running without a live lease") for table in _LEASED),
        ):
            with reading(self._engine) as connection:
                violations += [sentence.format(row_id) for row_id in connection.scalars(statement)]
        if self._engine.dialect.name == "sqlite":
            with reading(self._engine) as connection:
                violations += [
                    f"database: {row[0]}" for row in connection.exec_driver_sql("PRAGMA quick_check") if row[0] != "ok"
                ]
                for row in connection.exec_driver_sql("PRAGMA foreign_key_check"):
                    violations.append(f"database: {row[0]} {row[1]} refers to a row that is not there")
        return violations

    def _files(self, statement: Select[str, int, str, int], what: str) -> list[File]:
        with reading(self._engine) as connection:
            return [File(row[0], row[1], row[2], f"{what} {row[3]}") for row in connection.execute(statement)]

    @staticmethod
    def _images_without_job() -> Select[int]:
        return select(instance.c.id).where(~exists().where(job.c.instance_id == instance.c.id))

    @staticmethod
    def _done_without_image() -> Select[int]:
        """An image that came twice under one UID with equal pixels has one result: that of the first."""
        other, its_job = instance.alias(), job.alias()
        has_image = exists().where(
            output.c.job_id == its_job.c.id,
            output.c.kind == OutputKind.IMAGE,
            its_job.c.instance_id == other.c.id,
            other.c.sop_instance_uid == instance.c.sop_instance_uid,
        )
        jobs = select(job.c.id).join(instance, instance.c.id == job.c.instance_id)
        return jobs.where(job.c.state == JobState.DONE, ~has_image)

    @staticmethod
    def _twice_derived() -> Select[int]:
        ways = select(output.c.job_id).join(delivery, delivery.c.output_id == output.c.id)
        counted = ways.where(output.c.kind == OutputKind.IMAGE).group_by(output.c.job_id, delivery.c.destination)
        return counted.having(func.count() > 1)

    @staticmethod
    def _skipped_with_output() -> Select[int]:
        """What waits, or is dead, may have one: an image that came again is judged anew."""
        return select(job.c.id).where(job.c.state == JobState.SKIPPED, exists().where(output.c.job_id == job.c.id))

    @staticmethod
    def _outputs_without_delivery() -> Select[int]:
        no_way = ~exists().where(delivery.c.output_id == output.c.id)
        return select(output.c.id).where(output.c.kind != OutputKind.SHADOW, no_way)

    def _overdue(self, table: Table) -> Select[int]:
        limit = now(self._engine) - literal(float(_OVERDUE_S))
        return select(table.c.id).where(table.c.state == JobState.RUNNING, table.c.lease_until < limit)


_LEASED = (job, delivery, asked, audit)
