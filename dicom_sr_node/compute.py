"""What the worker's child process does: source file in, derived object in the outbox, one answer for each."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from pathlib import Path

from dicom_sr_node import log, routing, tolerance
from dicom_sr_node.answers import Ended, Failed, Made
from dicom_sr_node.errors import NodeError, Skipped, Undecodable, Unreadable
from dicom_sr_node.pixels import header
from dicom_sr_node.process import process
from dicom_sr_node.records import State
from dicom_sr_node.settings import Settings
from dicom_sr_node.spool import Spool
from model.checkpoint import CheckpointError
from model.upscaler import Upscaler

_log = log.get("compute")


class Computer:
    """Holds the model between images. Raises NodeError or ValueError if it cannot be loaded."""

    def __init__(self, settings: Settings, slot: str) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor decides when to stop
        log.start()
        tolerance.accept_faults_of_others()
        self._settings, self._spool = settings, Spool(settings.node.data_dir, slot)
        try:
            self._upscaler = Upscaler.load(settings.model.name, settings.model.device)
        except CheckpointError as error:
            raise NodeError(str(error)) from error
        self.model, self.device = self._upscaler.card.identity, str(self._upscaler.device)

    def answer(self, path: Path) -> Made | Ended | Failed:
        """One image."""
        try:
            return self._make(path)
        except Skipped as reason:
            return Ended(State.SKIPPED, str(reason))
        except (Unreadable, Undecodable) as reason:
            return Ended(State.DEAD, str(reason))
        except Exception as error:  # the one place where any fault becomes a failed try; the supervisor counts them
            _log.exception("image failed")
            return Failed(f"{type(error).__name__}: {error}")

    def _make(self, path: Path) -> Made:
        with header.usable():
            rule = routing.rule_for(header.read(path, pixels=False), self._settings.rules)
        derived = process(
            path, self._upscaler, model=self._settings.model, label=self._settings.derive.label, now=datetime.now(UTC)
        )
        stored = self._spool.keep("outbox", (derived.content,))
        return Made(stored, derived.described, routing.destinations(rule))
