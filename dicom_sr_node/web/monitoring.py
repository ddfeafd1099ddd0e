"""What monitoring asks: is it alive, is it ready, and its numbers for Prometheus. No patient, no UID, no file name."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy.exc import SQLAlchemyError

from dicom_sr_node.web.auth.access import Context
from dicom_sr_node.web.base.context import AppContext

monitoring = APIRouter(tags=["monitoring"])


@monitoring.get("/health/live", response_model=None)
async def live() -> dict[str, str]:
    """This process answers, however many wait for something else."""
    return {"status": "alive"}


@monitoring.get("/health/ready", response_model=None, responses={503: {"description": "It cannot do its work now."}})
def ready(context: Context) -> JSONResponse:
    """All roles run, the database answers, and there is room on the disk; else 503 and the reasons."""
    try:
        troubles = [t for t in context.health().problems if t.kind in ("disk", "role")]
    except SQLAlchemyError:
        return JSONResponse({"status": "not ready", "troubles": ["the database does not answer"]}, 503)
    if troubles:
        return JSONResponse({"status": "not ready", "troubles": [t.text for t in troubles]}, 503)
    return JSONResponse({"status": "ready", "troubles": []})


@monitoring.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(context: Context) -> Response:
    """The numbers of now, read from the database: the same from every machine of a node."""
    registry = CollectorRegistry()
    registry.register(_Numbers(context))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class _Numbers:
    """A collector of prometheus_client."""

    def __init__(self, context: AppContext) -> None:
        self._desk = context

    def collect(self) -> Iterator[Metric]:
        """One family after the other."""
        context, store = self._desk, self._desk.store
        images = GaugeMetricFamily("srnode_images", "Images by what became of them.", labels=["fate"])
        health = context.health()
        for fate, count in health.counts.items():
            images.add_metric([fate.value], count)
        yield images
        yield GaugeMetricFamily(
            "srnode_oldest_waiting_seconds", "How long the oldest due image waits.", store.search.oldest_waiting_s()
        )
        ways = GaugeMetricFamily("srnode_deliveries", "Deliveries by state.", labels=["destination", "state"])
        for name, counts in store.deliveries.counts().items():
            for state, count in counts.items():
                ways.add_metric([name, state.value], count)
        yield ways
        failing = GaugeMetricFamily("srnode_destination_failures", "Failed tries in a row.", labels=["destination"])
        for name, fares in store.destinations.ls().items():
            failing.add_metric([name], fares["failures"])
        yield failing
        roles = GaugeMetricFamily("srnode_role_seen_seconds", "Since a process was last seen.", labels=["process"])
        for process in health.processes:
            roles.add_metric([process["name"]], process["seen_s_ago"])
        yield roles
        troubles = GaugeMetricFamily("srnode_troubles", "What is wrong now.", labels=["kind"])
        for trouble in health.problems:
            troubles.add_metric([trouble.kind], 1)
        yield troubles
        free = shutil.disk_usage(context.settings.node.spool).free
        yield GaugeMetricFamily("srnode_spool_free_bytes", "Room on the disk of the spool.", free)
