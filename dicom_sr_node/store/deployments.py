"""Which weights are in service: the active ones, a shadow that is only compared, a canary that has a share."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, delete, insert, select, update

from dicom_sr_node.domain.errors import NotFound
from dicom_sr_node.store.engine import again_if_beaten, now, reading
from dicom_sr_node.store.tables import comparison, instance, job, output, service

ACTIVE, SHADOW, CANARY = "active", "shadow", "canary"
AS_CONFIGURED = ""  # model.name of the configuration
_COMPARED = 1000  # images of each kind that figures are made of


@dataclass(frozen=True)
class Deployment:
    """Names of weights; nothing where there is none. active: AS_CONFIGURED until another is activated."""

    active: str = AS_CONFIGURED
    previous: str = AS_CONFIGURED
    shadow: str = ""
    canary: str = ""
    canary_share: float = 0.0

    def model_for(self, series_uid: str) -> str:
        """The active one or the canary: the same for all images of a series, so that its results are one series."""
        luck = zlib.crc32(series_uid.encode()) / 2**32
        return self.canary if self.canary and luck < self.canary_share else self.active


class ModelDeployments:
    """The tables `service` and `comparison`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def now(self) -> Deployment:
        """What is in service."""
        with reading(self._engine) as connection:
            rows = {row["role"]: row for row in connection.execute(select(service)).mappings()}
        active, canary = rows.get(ACTIVE), rows.get(CANARY)
        return Deployment(
            active=active["model"] if active else AS_CONFIGURED,
            previous=active["previous"] if active else AS_CONFIGURED,
            shadow=rows[SHADOW]["model"] if SHADOW in rows else "",
            canary=canary["model"] if canary else "",
            canary_share=canary["share"] if canary else 0.0,
        )

    def activate(self, model: str) -> None:
        """From the next image on. A canary or shadow of this name has done its work."""
        before = self.now()
        if before.active == model:
            return
        self._set(ACTIVE, model=model, previous=before.active)
        for role, name in ((SHADOW, before.shadow), (CANARY, before.canary)):
            if name == model:
                self.end(role)

    def rollback(self) -> str:
        """The one before is active again; returns its name. It never brings back what it took out.

        Raises NotFound where there was none.
        """
        before = self.now()
        if before.active == before.previous:
            ending = (
                " (a canary or shadow ends with `canary off`, `shadow off`)" if before.canary or before.shadow else ""
            )
            raise NotFound(f"no other weights were active before: there is nothing to go back to{ending}")
        self._set(ACTIVE, model=before.previous, previous=before.previous)
        return before.previous

    def shadow(self, model: str) -> None:
        """Run beside the active one; its results stay here."""
        self._set(SHADOW, model=model)

    def canary(self, model: str, share: float) -> None:
        """Give so much of all series (0 to 1) to this one; its results are sent."""
        self._set(CANARY, model=model, share=share)

    def end(self, role: str) -> None:
        """No shadow or canary any more. Raises NotFound where there is none."""
        with self._engine.begin() as connection:
            if not connection.execute(delete(service).where(service.c.role == role)).rowcount:
                raise NotFound(f"there is no {role}")

    def comparisons(self) -> list[dict[str, Any]]:
        """The newest comparisons of a shadow with what was sent: model, against, numbers, job."""
        statement = (
            select(comparison, job.c.id.label("job_id"), output.c.model)
            .join(output, output.c.id == comparison.c.output_id)
            .join(job, job.c.id == output.c.job_id)
            .order_by(comparison.c.output_id.desc())
            .limit(_COMPARED)
        )
        with reading(self._engine) as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]

    def qualities(self) -> list[dict[str, Any]]:
        """model and quality (JSON) of the newest images that were sent."""
        statement = (
            select(output.c.model, job.c.quality, instance.c.received_at)
            .join(job, job.c.id == output.c.job_id)
            .join(instance, instance.c.id == job.c.instance_id)
            .where(output.c.kind == "image")
            .order_by(output.c.id.desc())
            .limit(_COMPARED)
        )
        with reading(self._engine) as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]

    @again_if_beaten
    def _set(self, role: str, **values: Any) -> None:
        row = {"previous": AS_CONFIGURED, "share": 0.0, **values, "since": now(self._engine)}
        with self._engine.begin() as connection:
            if not connection.execute(update(service).where(service.c.role == role).values(**row)).rowcount:
                connection.execute(insert(service).values(role=role, **row))
