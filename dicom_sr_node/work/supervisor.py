"""The worker role: a supervisor that holds leases, and a child process that decodes and computes.

The supervisor never touches pixels or torch: a crash, a hang or a memory bomb in the child costs the child and one
try of one job. Only the supervisor writes to the database.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from threading import Event

from sqlalchemy.exc import SQLAlchemyError

from dicom_sr_node.config.settings import Settings
from dicom_sr_node.domain.errors import Fenced, NodeError
from dicom_sr_node.domain.messages import Failed, InferenceRequest, Ready, Rejected, Succeeded
from dicom_sr_node.domain.records import Job, JobState
from dicom_sr_node.role import RoleContext
from dicom_sr_node.runtime import failpoints, log, loop

_log = log.get("work")

START_S = 120.0  # for the child to load torch and the weights


_CRASHES = {-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, -signal.SIGFPE, -signal.SIGILL}
MOST_CRASHES = 2  # of the process on one image; then the image is taken for the cause
MOST_LOST = 20  # tries that ended because a process was killed or a device was lost; that seldom is the image's fault


class InferenceDied(NodeError):
    """The process that computes ended without an answer; `crashed` by a fault of its own, else killed from outside."""

    retryable = True

    def __init__(self, message: str, *, crashed: bool) -> None:
        super().__init__(message)
        self.crashed = crashed


class InferenceSubprocess:
    """The computing process, seen from the supervisor."""

    def __init__(self, settings: Settings, slot: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=compute, args=(settings, slot, theirs), name=f"{slot}-compute", daemon=False
        )  # no daemon: it starts the process that decodes; it ends when its pipe does
        self._process.start()
        failpoints.disarm_children()
        theirs.close()

    def ask(self, task: InferenceRequest) -> None:
        """Hand over an image. Raises ChildDied."""
        try:
            self._pipe.send(task)
        except OSError as error:
            raise self._obituary() from error

    def answer(self, wait_s: float) -> Ready | Succeeded | Rejected | Failed | None:
        """What the child says, or None if it says nothing for so long. Raises ChildDied."""
        try:
            return self._pipe.recv() if self._pipe.poll(wait_s) else None
        except (EOFError, OSError) as error:
            raise self._obituary() from error

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.join()

    def _obituary(self) -> InferenceDied:
        self._process.join(timeout=5)
        code = self._process.exitcode
        return InferenceDied(f"the computing process ended with exit code {code}", crashed=code in _CRASHES)


class Worker:
    """Works until it is stopped."""

    def __init__(self, settings: Settings, role: RoleContext) -> None:
        self._settings, self._spool, self._store, self._jobs = settings, role.spool, role.store, role.store.jobs
        self._slot, self._spool_slot = role.name, role.spool.tmp.name
        self._retry = settings.work.retry
        self._child: InferenceSubprocess | None = None

    def run(self, stop: Event, on_ready: Callable[[str], None]) -> None:
        """Until `stop` is set; the job in hand goes back to the queue.

        Raises NodeError if the model cannot be loaded.
        """
        self._spool.sweep()
        released = self._jobs.release(self._slot)
        _log.info("working", extra={"slot": self._slot, "released": released})
        try:
            loop.poll_forever(lambda: self._step(stop, on_ready), stop, self._settings.work.poll_s)
        finally:
            self._end_child()

    def _step(self, stop: Event, on_ready: Callable[[str], None]) -> bool:
        """One job; False if there is none."""
        child = self._ready_child(stop, on_ready)
        job = self._jobs.claim(self._slot, self._settings.work.lease_s) if child else None
        if child is None or job is None:
            return False
        failpoints.hit("work.claimed")
        self._work(child, job, stop)
        return True

    def _ready_child(self, stop: Event, on_ready: Callable[[str], None]) -> InferenceSubprocess | None:
        """The child with its model loaded; started again if it died. Raises NodeError if it cannot load one."""
        if self._child is None:
            self._child = InferenceSubprocess(self._settings, self._spool_slot)
            deadline = time.monotonic() + START_S
            while (answer := self._child.answer(0.2)) is None:
                if stop.is_set():
                    return None
                if time.monotonic() > deadline:
                    raise NodeError(f"the model was not loaded within {START_S:g} s")
            if not isinstance(answer, Ready):
                raise NodeError(
                    f"the model cannot be loaded: {answer.reason if isinstance(answer, Failed) else answer}"
                )
            _log.info("model loaded", extra={"model": answer.model, "device": answer.device})
            on_ready(f"model {answer.model} on {answer.device}")
        return self._child

    def _work(self, child: InferenceSubprocess, job: Job, stop: Event) -> None:
        if self._retry.is_spent(job.failures) or job.lost >= MOST_LOST:
            tries = job.failures + job.lost
            self._end(job, Rejected(JobState.DEAD, f"given up after {tries} tries; the last: {job.reason}"))
            return
        started = time.monotonic()
        try:
            child.ask(self._task(job))
            answer = self._wait(child, job, stop)
        except InferenceDied as error:
            self._end_child()
            answer = Failed(str(error), crashed=error.crashed, lost=not error.crashed)
        except Fenced as error:
            self._end_child()  # it computes for nobody
            _log.warning("fenced", extra={"job": job.id, "why": error})
            return
        took_s = time.monotonic() - started
        self._write_down(job, answer, took_s)
        fields = {"job": job.id, "outcome": type(answer).__name__, "seconds": round(took_s, 2)}
        if isinstance(answer, Succeeded):
            fields["dropped"] = ",".join(answer.dropped) or "-"
        _log.info("worked", extra=fields)

    def _task(self, job: Job) -> InferenceRequest:
        image, in_service = self._store.instances.get(job.instance_id), self._store.deployments.now()
        path = self._spool.path("in", image.file)
        return InferenceRequest(path, image.origin, in_service.model_for(image.series_uid), in_service.shadow)

    def _wait(self, child: InferenceSubprocess, job: Job, stop: Event) -> Succeeded | Rejected | Failed | None:
        """The child's answer, while the lease is renewed; None if the worker is stopping. Raises ChildDied, Fenced."""
        lease_s = self._settings.work.lease_s
        deadline, renew_at = time.monotonic() + self._settings.work.deadline_s, time.monotonic() + lease_s / 4
        while True:
            answer = child.answer(0.2)
            if answer is not None and not isinstance(answer, Ready):
                return answer
            if stop.is_set():
                self._end_child()
                return None
            if time.monotonic() > deadline:
                self._end_child()
                return Failed(f"not finished within {self._settings.work.deadline_s:g} s (work.deadline_s)")
            if time.monotonic() > renew_at:
                self._jobs.renew(job, lease_s)
                renew_at = time.monotonic() + lease_s / 4

    def _write_down(self, job: Job, answer: Succeeded | Rejected | Failed | None, took_s: float) -> None:
        """As `_end`; an answer that cannot be written down is a failure of this image, and not of the worker."""
        try:
            self._end(job, answer, took_s)
        except (NodeError, SQLAlchemyError, OSError):
            raise
        except Exception as error:
            _log.exception("not written down", extra={"job": job.id})
            self._end(job, Failed(f"what became of it cannot be written down: {log.kind_of(error)}"))

    def _end(self, job: Job, answer: Succeeded | Rejected | Failed | None, took_s: float = 0.0) -> None:
        """Write down how a try ended (None: not finished, no failure); what somebody else took over is dropped."""
        try:
            if isinstance(answer, Succeeded):
                for stored in self._jobs.done(job, answer.result, took_s):
                    self._spool.discard("outbox", stored.name)
                failpoints.hit("work.committed")
            elif isinstance(answer, Rejected):
                self._jobs.end(job, answer.state, answer.reason, skipped=answer.skipped, quality=answer.quality)
            elif isinstance(answer, Failed):
                weight = 0 if answer.lost else 1
                if answer.crashed:
                    weight = -(-self._settings.work.max_attempts // MOST_CRASHES)
                self._jobs.fail(
                    job,
                    answer.reason,
                    delay_s=self._retry.pause_s(job.failures),
                    failures=weight,
                    lost=int(answer.lost),
                )
            else:
                self._jobs.put_back(job)
        except Fenced as error:
            if isinstance(answer, Succeeded):
                for output in answer.result.outputs:
                    self._spool.discard("outbox", output.stored.name)
            _log.warning("fenced", extra={"job": job.id, "why": error})

    def _end_child(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child = None


def compute(settings: Settings, slot: str, pipe: Connection) -> None:
    """The child.

    Loads the model once, then answers each path with Made, Ended or Failed until the supervisor is gone.
    """
    from dicom_sr_node.work.inference import InferenceProcess  # torch: in the child, and not in its supervisor

    try:
        try:
            computer = InferenceProcess(settings, slot)
        except (NodeError, ValueError) as error:
            pipe.send(Failed(str(error)))
            return
        pipe.send(Ready(computer.model, computer.device))
        while True:
            pipe.send(computer.answer(pipe.recv()))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return
