"""How the destinations fare: one that fails is given a rest, by all processes, and each rest is twice the last."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, insert, select, update

from dicom_sr_node.runtime.backoff import RetryPolicy
from dicom_sr_node.store.engine import again_if_beaten, now, reading
from dicom_sr_node.store.leases import storable
from dicom_sr_node.store.tables import destination


class Destinations:
    """The table `destination`: the circuit breaker."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def rests(self, name: str) -> bool:
        """Whether it is to be left alone now."""
        clock = now(self._engine)
        statement = select(destination.c.name).where(destination.c.name == name, destination.c.closed_until > clock)
        with reading(self._engine) as connection:
            return connection.scalar(statement) is not None

    def succeeded(self, name: str) -> None:
        """It took something."""
        self._set(name, failures=0, closed_until=0.0, delivered_at=now(self._engine), reason="")

    def failed(self, name: str, reason: str, retry: RetryPolicy) -> float:
        """It did not, for a reason that is not the object's; returns how long it rests now."""
        with reading(self._engine) as connection:
            before = connection.scalar(select(destination.c.failures).where(destination.c.name == name)) or 0
        rest_s = retry.pause_s(before)
        closed_until = now(self._engine) + rest_s
        self._set(name, failures=before + 1, closed_until=closed_until, reason=storable(reason))
        return rest_s

    def reopen(self, name: str) -> None:
        """Try it at once, by hand."""
        with self._engine.begin() as connection:
            connection.execute(update(destination).where(destination.c.name == name).values(closed_until=0.0))

    def ls(self) -> dict[str, dict[str, Any]]:
        """For each one: failures in a row, seconds until it is tried again, seconds since it took something, reason."""
        clock = now(self._engine)
        statement = select(
            destination.c.name,
            destination.c.failures,
            (destination.c.closed_until - clock).label("again_in_s"),
            (clock - destination.c.delivered_at).label("took_s_ago"),
            destination.c.delivered_at,
            destination.c.reason,
        ).order_by(destination.c.name)
        with reading(self._engine) as connection:
            return {
                row["name"]: {
                    "failures": row["failures"],
                    "again_in_s": max(0.0, row["again_in_s"]),
                    "took_s_ago": row["took_s_ago"] if row["delivered_at"] else None,
                    "reason": row["reason"],
                }
                for row in connection.execute(statement).mappings()
            }

    @again_if_beaten
    def _set(self, name: str, **values: Any) -> None:
        with self._engine.begin() as connection:
            if not connection.execute(update(destination).where(destination.c.name == name).values(**values)).rowcount:
                new = {"failures": 0, "closed_until": 0.0, "delivered_at": 0.0, "reason": ""}
                connection.execute(insert(destination).values(name=name, **(new | values)))
