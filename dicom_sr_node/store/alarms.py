"""What somebody was told, so that it is told once, by one of all machines, and again only after a while."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Engine, delete, insert, select, update

from dicom_sr_node.domain.records import Problem
from dicom_sr_node.store.engine import again_if_beaten, now, reading
from dicom_sr_node.store.tables import alarm


class AlarmLog:
    """The table `alarm`: the troubles that were told and are not over."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def due(self, troubles: Iterable[Problem], repeat_s: float) -> list[Problem]:
        """Those that nobody was told of, or so long ago."""
        clock = now(self._engine)
        recent = select(alarm.c.kind, alarm.c.subject).where(alarm.c.told_at > clock - repeat_s)
        with reading(self._engine) as connection:
            known = {tuple(row) for row in connection.execute(recent)}
        return [trouble for trouble in troubles if (trouble.kind, trouble.subject) not in known]

    def over(self, troubles: Iterable[Problem]) -> list[Problem]:
        """Those that were told and are not among the troubles of now."""
        still = {(trouble.kind, trouble.subject) for trouble in troubles}
        with reading(self._engine) as connection:
            rows = connection.execute(select(alarm.c.kind, alarm.c.subject, alarm.c.text)).all()
        return [Problem(row.kind, row.subject, row.text, "") for row in rows if (row.kind, row.subject) not in still]

    @again_if_beaten
    def told(self, trouble: Problem) -> None:
        """Somebody knows."""
        clock, values = now(self._engine), {"text": trouble.text}
        with self._engine.begin() as connection:
            is_this = (alarm.c.kind == trouble.kind) & (alarm.c.subject == trouble.subject)
            if not connection.execute(update(alarm).where(is_this).values(**values, told_at=clock)).rowcount:
                row = {"kind": trouble.kind, "subject": trouble.subject, **values, "since": clock, "told_at": clock}
                connection.execute(insert(alarm).values(**row))

    def forget(self, trouble: Problem) -> None:
        """It is over, and somebody knows."""
        with self._engine.begin() as connection:
            is_this = (alarm.c.kind == trouble.kind) & (alarm.c.subject == trouble.subject)
            connection.execute(delete(alarm).where(is_this))
