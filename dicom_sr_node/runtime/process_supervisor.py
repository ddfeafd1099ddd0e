"""`srnode serve`: starts the roles, starts again those that die, and stops them in good order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from dicom_sr_node.runtime import failpoints, log, systemd
from dicom_sr_node.runtime.backoff import RetryPolicy

_log = log.get("serve")

RESTARTS = RetryPolicy(first_s=2.0, longest_s=30.0)
SETTLED_S = 10.0  # a role that ran so long is started again without a pause
DRAIN_S = 30.0
ESSENTIAL = "receive"  # if it cannot even start, the configuration is wrong: say so and stop


@dataclass
class _Role:
    name: str
    process: subprocess.Popen[bytes]
    started: float
    failures: int = 0  # in a row
    starts: int = 1
    again_at: float | None = None  # set while it is dead and waits for its next start
    planned: bool = False  # it was told to end, to start again with another configuration


class ProcessSupervisor:
    """The parent of the roles."""

    def __init__(
        self,
        names: Sequence[str],
        config: Path | None,
        changed: Callable[[], Sequence[str] | None],
        alive: Callable[[], set[int]],
    ) -> None:
        """changed: the roles of another configuration, when there is one. alive: processes that say so themselves."""
        self._names, self._config, self._changed, self._alive = names, config, changed, alive

    def run(self, stop: Event) -> int:
        """Until `stop` is set; 1 if the receiver could not start."""
        roles = [self._begin(name) for name in self._names]
        failpoints.disarm_children()
        ready = False
        try:
            while not stop.wait(0.2):
                for role in roles:
                    if role.process.poll() is not None and not self._revive(role):
                        return 1
                if not ready and {role.process.pid for role in roles} <= self._alive():
                    ready = True
                    _log.info("ready")
                    systemd.sd_notify(systemd.READY)
                if (names := self._changed()) is not None:
                    roles = self._reload(roles, names)
        finally:
            systemd.sd_notify(systemd.STOPPING)
            _end(roles)
        return 0

    def _begin(self, name: str) -> _Role:
        return _Role(name, self._start(name), time.monotonic())

    def _reload(self, roles: list[_Role], names: Sequence[str]) -> list[_Role]:
        """The receiver changes while it goes on; the others end what they have in hand and are started again."""
        _log.info("another configuration", extra={"roles": ",".join(names)})
        gone = [role for role in roles if role.name not in names]
        _end(gone)
        kept = [role for role in roles if role not in gone]
        for role in kept:
            if role.name == ESSENTIAL:
                role.process.send_signal(signal.SIGHUP)
            else:
                role.process.terminate()
                role.planned = True
        return kept + [self._begin(name) for name in names if name not in {role.name for role in kept}]

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        config = ["--config", str(self._config)] if self._config else []
        command = [sys.executable, "-m", "dicom_sr_node", *config, name, "--parent", str(os.getpid())]
        return subprocess.Popen(command, start_new_session=True)  # Ctrl-C reaches the supervisor alone

    def _revive(self, role: _Role) -> bool:
        """Start a dead role again when its pause is over; False if that is pointless."""
        now = time.monotonic()
        if role.again_at is None:
            settled, code = now - role.started > SETTLED_S or role.planned, role.process.returncode
            if role.name == ESSENTIAL and role.starts == 1 and not settled and code in (1, 3):
                _log.error("the receiver could not start", extra={"exit_code": code})
                return False
            role.again_at = now if settled else now + RESTARTS.pause_s(role.failures)
            role.failures = 0 if settled else role.failures + 1
            level = _log.info if role.planned else _log.error
            level("role ended", extra={"role": role.name, "exit_code": code, "again_in_s": role.again_at - now})
        if now >= role.again_at:
            role.process, role.started, role.starts, role.again_at = self._start(role.name), now, role.starts + 1, None
            role.planned = False
        return True


def _end(roles: Sequence[_Role]) -> None:
    """Ask all to stop, and wait; what does not stop in time is killed and its work goes back by lease."""
    for role in roles:
        role.process.terminate()
    deadline = time.monotonic() + DRAIN_S
    for role in roles:
        try:
            role.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            _log.error("role killed", extra={"role": role.name})
            role.process.kill()
            role.process.wait()
