"""What the worker's child process does: source file in, derived object in the outbox, one answer for each."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime

from pydicom import Dataset

from dicom_sr_node.config.settings import Settings
from dicom_sr_node.derive import encoding
from dicom_sr_node.dicom import validation
from dicom_sr_node.domain.errors import DecoderDied, NodeError, OurFault, Skipped, Undecodable, Unreadable
from dicom_sr_node.domain.messages import Failed, InferenceRequest, Rejected, Succeeded
from dicom_sr_node.domain.records import JobResult, JobState, OutputKind, Stored, StoredOutput
from dicom_sr_node.pixels.sandbox import DecoderProcess
from dicom_sr_node.rules import routing
from dicom_sr_node.rules.plan import PlanRequest
from dicom_sr_node.runtime import failpoints, log
from dicom_sr_node.spool import Spool
from dicom_sr_node.work.pipeline import DerivedResult, Pipeline, compare, describe
from dicom_sr_node.work.registry import registry_for
from model.backend import DeviceLost
from model.upscaler import Upscaler

_log = log.get("compute")


class InferenceProcess:
    """Holds the model between images. Raises NodeError or ValueError if it cannot be loaded."""

    def __init__(self, settings: Settings, slot: str) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor decides when to stop
        os.umask(0o077)
        log.start()
        failpoints.arm()
        validation.relax_validation()
        self._settings, self._spool = settings, Spool(settings.node.spool, slot)
        self._registry = registry_for(settings.node, settings.model)
        self._loaded = dict[str, Upscaler]()
        self._named = {name for rule in settings.rules for name in (rule.model, *(to.model for to in rule.send_to))}
        for name in self._named - {None}:
            self._upscaler(str(name))
        configured = self._upscaler(settings.model.name)
        self._decoder = DecoderProcess(settings.work)
        self.model, self.device = configured.card.identity, str(configured.device)

    def answer(self, request: InferenceRequest) -> Succeeded | Rejected | Failed:
        """One image."""
        try:
            return self._make(request)
        except Skipped as reason:
            return Rejected(JobState.SKIPPED, str(reason), reason.reason, reason.quality)
        except (Unreadable, Undecodable) as reason:
            return Rejected(JobState.DEAD, str(reason))
        except OurFault as fault:
            _log.error("image failed", extra={"why": fault})
            return Failed(str(fault))
        except DecoderDied as reason:
            return Failed(str(reason))
        except DeviceLost:
            raise  # ends this process; the next one gets a sound device, or the CPU
        except Exception as error:  # the one place where any fault becomes a failed try; the supervisor counts them
            where = log.kind_of(error)  # its own words may quote the data set
            _log.error("image failed", extra={"why": where})
            return Failed(where)

    def _make(self, request: InferenceRequest) -> Succeeded:
        model = request.model or self._settings.model.name
        pipeline = Pipeline(self._decoder, lambda name: self._upscaler(name or model), self._settings.derive)
        outcome = pipeline.run(request.path, self._plan_request(model), request.origin, datetime.now(UTC))
        outputs = [
            StoredOutput(describe(kind, ds, derived), self._keep(ds), derived.spec.destinations)
            for derived in outcome.results
            for kind, ds in derived.objects()
        ]
        first = outcome.results[0]
        if request.shadow:
            outputs += self._shadow(request, first)
        result = JobResult(tuple(outputs), first.quality.numbers, outcome.left_out, outcome.rule.name)
        return Succeeded(result, first.image.dropped)

    def _shadow(self, request: InferenceRequest, sent: DerivedResult) -> list[StoredOutput]:
        """What other weights make of the same image, and how far that is from what is sent.

        A fault of theirs costs nothing but the comparison.
        """
        spec = replace(sent.spec, model=request.shadow, scale=sent.scale, label="none", destinations=())
        started = time.monotonic()
        try:
            planned = replace(self._plan_request(request.shadow, request.shadow), only=spec)
            derive = self._settings.derive.model_copy(update={"heat_map": False, "report": False})
            pipeline = Pipeline(self._decoder, self._upscaler, derive)
            outcome = pipeline.run(request.path, planned, request.origin, datetime.now(UTC))
        except (NodeError, ValueError) as error:
            _log.warning("no comparison", extra={"shadow": request.shadow, "why": type(error).__name__})
            return []
        shadow = outcome.results[0]
        numbers = {**compare(shadow, sent), "seconds": round(time.monotonic() - started, 2)}
        columns = describe(OutputKind.SHADOW, shadow.image, shadow)
        return [StoredOutput(columns, self._keep(shadow.image), (), numbers)]

    def _keep(self, ds: Dataset) -> Stored:
        return self._spool.keep("outbox", (encoding.compressed(ds),))

    def _upscaler(self, name: str) -> Upscaler:
        """Loaded once. Raises NodeError."""
        if name not in self._loaded:
            model = self._settings.model
            self._loaded[name] = self._registry.load(name, model.device, model.precision)
        return self._loaded[name]

    def _plan_request(self, model: str, *others: str) -> PlanRequest:
        names = {routing.IN_SERVICE: model} | {str(name): str(name) for name in {*self._named, *others} - {None}}
        served = {spec: self._upscaler(name).scales for spec, name in names.items()}
        return PlanRequest(self._settings.rules, self._settings.model, self._settings.derive.label, served)
