"""What the worker's child process does: source file in, derived object in the outbox, one answer for each."""

from __future__ import annotations

import os
import signal
import time
import traceback
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pydicom import Dataset

from dicom_sr_node import failpoints, log, routing, tolerance
from dicom_sr_node.answers import Ended, Failed, Kept, Made, Task
from dicom_sr_node.derive import encoding
from dicom_sr_node.errors import DecoderDied, NodeError, Skipped, Undecodable, Unreadable
from dicom_sr_node.models import Shelf
from dicom_sr_node.pixels.reader import Admission, Reader
from dicom_sr_node.process import Derived, compare, describe, process
from dicom_sr_node.records import Kind, State, Stored
from dicom_sr_node.settings import Settings
from dicom_sr_node.spool import Spool
from model.upscaler import DeviceLost, Upscaler

_log = log.get("compute")


class Computer:
    """Holds the model between images. Raises NodeError or ValueError if it cannot be loaded."""

    def __init__(self, settings: Settings, slot: str) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor decides when to stop
        os.umask(0o077)
        log.start()
        failpoints.arm()
        tolerance.accept_faults_of_others()
        self._settings, self._spool = settings, Spool(settings.node.spool, slot)
        self._shelf, self._loaded = Shelf(settings.node.spool, unproven=settings.model.unproven), dict[str, Upscaler]()
        self._named = {name for rule in settings.rules for name in (rule.model, *(to.model for to in rule.send_to))}
        for name in self._named - {None}:
            self._upscaler(str(name))
        configured = self._upscaler(settings.model.name)
        self._reader = Reader(settings.work)
        self.model, self.device = configured.card.identity, str(configured.device)

    def answer(self, task: Task) -> Made | Ended | Failed:
        """One image."""
        try:
            return self._make(task)
        except Skipped as reason:
            return Ended(State.SKIPPED, str(reason), reason.reason, reason.quality)
        except (Unreadable, Undecodable) as reason:
            return Ended(State.DEAD, str(reason))
        except DecoderDied as reason:
            return Failed(str(reason))
        except DeviceLost:
            raise  # ends this process; the next one gets a sound device, or the CPU
        except Exception as error:  # the one place where any fault becomes a failed try; the supervisor counts them
            where = traceback.extract_tb(error.__traceback__)[-1]
            told = f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}"
            _log.error("image failed", extra={"why": told})  # its own words may quote the data set
            return Failed(told)

    def _make(self, task: Task) -> Made:
        model = task.model or self._settings.model.name
        made = process(
            task.path,
            self._reader,
            lambda name: self._upscaler(name or model),
            admission=self._admission(model),
            wanted=self._settings.derive,
            now=datetime.now(UTC),
            origin=task.origin,
        )
        kept = [
            Kept(describe(kind, ds, derived.card, derived.scale), self._keep(ds), derived.form.destinations)
            for derived in made.results
            for kind, ds in derived.objects()
        ]
        if task.shadow:
            kept += self._shadow(task, made.results[0])
        first = made.results[0]
        return Made(tuple(kept), first.quality.numbers, first.image.dropped, made.left_out, made.rule.name)

    def _shadow(self, task: Task, sent: Derived) -> list[Kept]:
        """What other weights make of the same image, and how far that is from what is sent.

        A fault of theirs costs nothing but the comparison.
        """
        form = replace(sent.form, model=task.shadow, scale=sent.scale, label="none", destinations=())
        started = time.monotonic()
        try:
            admission = replace(self._admission(task.shadow, task.shadow), only=form)
            wanted = self._settings.derive.model_copy(update={"heat_map": False, "report": False})
            now = datetime.now(UTC)
            made = process(
                task.path, self._reader, self._upscaler, admission=admission, wanted=wanted, now=now, origin=task.origin
            )
        except (NodeError, ValueError) as error:
            _log.warning("no comparison", extra={"shadow": task.shadow, "why": type(error).__name__})
            return []
        shadow = made.results[0]
        numbers = {**compare(shadow, sent), "seconds": round(time.monotonic() - started, 2)}
        return [
            Kept(describe(Kind.SHADOW, shadow.image, shadow.card, shadow.scale), self._keep(shadow.image), (), numbers)
        ]

    def _keep(self, ds: Dataset) -> Stored:
        return self._spool.keep("outbox", (encoding.compressed(ds),))

    def _upscaler(self, name: str) -> Upscaler:
        """Loaded once. Raises NodeError."""
        if name not in self._loaded:
            model = self._settings.model
            self._loaded[name] = self._shelf.load(name, model.device, model.precision)
        return self._loaded[name]

    def _admission(self, model: str, *others: str) -> Admission:
        names = {routing.IN_SERVICE: model} | {str(name): str(name) for name in {*self._named, *others} - {None}}
        served = {form: self._upscaler(name).scales for form, name in names.items()}
        return Admission(self._settings.rules, self._settings.model, self._settings.derive.label, served)
