"""What the worker's child process does: source file in, derived object in the outbox, one answer for each."""

from __future__ import annotations

import os
import signal
import traceback
from datetime import UTC, datetime
from pathlib import Path

from dicom_sr_node import failpoints, log, routing, tolerance
from dicom_sr_node.answers import Ended, Failed, Made
from dicom_sr_node.derive import encoding
from dicom_sr_node.errors import DecoderDied, NodeError, Skipped, Undecodable, Unreadable
from dicom_sr_node.pixels.reader import Admission, Reader
from dicom_sr_node.process import describe, process
from dicom_sr_node.records import State
from dicom_sr_node.settings import Settings
from dicom_sr_node.spool import Spool
from model.checkpoint import CheckpointError
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
        try:
            self._upscaler = Upscaler.load(settings.model.name, settings.model.device)
        except CheckpointError as error:
            raise NodeError(str(error)) from error
        self._admission = Admission(settings.rules, settings.model, self._upscaler.scales)
        self._reader = Reader(settings.work)
        self.model, self.device = self._upscaler.card.identity, str(self._upscaler.device)

    def answer(self, path: Path) -> Made | Ended | Failed:
        """One image."""
        try:
            return self._make(path)
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

    def _make(self, path: Path) -> Made:
        derived = process(
            path,
            self._reader,
            self._upscaler,
            admission=self._admission,
            wanted=self._settings.derive,
            now=datetime.now(UTC),
        )
        kept = tuple(
            (
                describe(kind, ds, self._upscaler.card, derived.scale),
                self._spool.keep("outbox", (encoding.compressed(ds),)),
            )
            for kind, ds in derived.objects()
        )
        return Made(kept, routing.destinations(derived.rule), derived.quality.numbers, derived.image.dropped)
