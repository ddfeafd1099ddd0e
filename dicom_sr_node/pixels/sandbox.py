"""Files of others are read and decoded in a process of their own, with limits on its memory and computing time.

A codestream that crashes the decoder, blows up or never ends costs this process and nothing else.
"""

from __future__ import annotations

import gc
import logging
import math
import multiprocessing
import os
import resource
import signal
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from dicom_sr_node.config.working import WorkSettings
from dicom_sr_node.dicom import damage, header, validation
from dicom_sr_node.dicom.damage import CANNOT_BE_USED
from dicom_sr_node.domain.errors import DecoderDied, NodeError, OurFault, Skipped, Undecodable, Unreadable
from dicom_sr_node.pixels.decode import decode
from dicom_sr_node.pixels.frame import Frame
from dicom_sr_node.runtime import log

Answer = TypeVar("Answer")

_START_S = 60.0
_SWOLLEN = 400 << 20  # bytes in memory between two images: three times what an idle process has
_FAULTS_OF_THE_IMAGE: dict[int, str] = {
    signal.SIGSEGV: "the decoder crashed",
    signal.SIGABRT: "the decoder crashed",
    signal.SIGBUS: "the decoder crashed",
    signal.SIGFPE: "the decoder crashed",
    signal.SIGILL: "the decoder crashed",
    signal.SIGXCPU: "decoding took too long (work.decode_limit_s)",
}
_PATIENCE, _GRACE_S = 4, 5.0  # real seconds for each second of computing time, and more: others want the cores, too


def frame(path: Path) -> Frame:
    """The pixels of any grayscale file, whether it may be upscaled or not. Raises Unreadable, Undecodable."""
    source = header.read(path)
    with damage.usable():
        return decode(source)


class DecoderProcess:
    """The process, seen from outside; started when it is first needed, and again after it died."""

    def __init__(self, limits: WorkSettings) -> None:
        self._limits = limits
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def frame(self, path: Path) -> Frame:
        """`frame` in the other process. Raises what it raises, and DecoderDied."""
        return self.ask(frame, path)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None

    def ask(self, task: Callable[..., Answer], *arguments: object) -> Answer:
        """Any function of a module, in the other process. Raises the NodeErrors that it raises, and DecoderDied."""
        try:
            pipe = self._started()
            pipe.send((task, arguments))
            patience_s = self._limits.decode_limit_s * _PATIENCE + _GRACE_S
            if not pipe.poll(patience_s):
                self.close()
                raise DecoderDied(f"no answer within {patience_s:g} s")
            answer = pipe.recv()
        except (EOFError, OSError) as error:
            raise self._why_it_died() from error
        if self._is_swollen():
            self.close()  # a decoder does not give back what a hostile image made it take
        if isinstance(answer, NodeError):
            raise answer
        return answer  # type: ignore[no-any-return]

    def _started(self) -> Connection:
        if self._process is not None and not self._process.is_alive():
            self.close()
        if self._pipe is None:
            context = multiprocessing.get_context("spawn")
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs, self._limits), name="decode", daemon=True)
            self._process.start()
            theirs.close()
            if not self._pipe.poll(_START_S):
                self.close()
                raise DecoderDied(f"the process that decodes did not start within {_START_S:g} s")
            self._pipe.recv()
        return self._pipe

    def _is_swollen(self) -> bool:
        if self._process is None:
            return False
        resident = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return resident * resource.getpagesize() > _SWOLLEN

    def _why_it_died(self) -> NodeError:
        code = 0
        if self._process is not None:
            self._process.join(timeout=5)
            code = self._process.exitcode or 0
        self.close()
        if -code in _FAULTS_OF_THE_IMAGE:
            return Undecodable(_FAULTS_OF_THE_IMAGE[-code])
        return DecoderDied(f"the process that decodes ended with exit code {code}")


def _serve(pipe: Connection, limits: WorkSettings) -> None:
    """The process: one answer for each question until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    validation.relax_validation()
    logging.disable()  # what decoders say of a file may hold parts of it
    warnings.simplefilter("ignore")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit_memory(limits.decode_memory_mb << 20)
    beyond_memory = Undecodable(
        f"reading or decoding needs more than {limits.decode_memory_mb} MB (work.decode_memory_mb); "
        "a damaged file may claim so"
    )
    try:
        pipe.send("ready")
        while True:
            task, arguments = pipe.recv()
            _limit_time(limits.decode_limit_s)
            try:
                answer = task(*arguments)
            except (Skipped, Unreadable, Undecodable) as reason:
                answer = reason
            except MemoryError:
                answer = beyond_memory
            except OSError as error:
                lost = error.errno is not None  # else pydicom's "No tag to read"
                answer = DecoderDied(f"the file cannot be read: {error}") if lost else Unreadable(CANNOT_BE_USED)
            except BaseException as error:  # whatever a damaged file makes a library raise, panics of Rust among it
                answer = _fate_of(error)
            try:
                pipe.send(answer)
            except MemoryError:  # while it is packed; nothing was sent yet
                pipe.send(beyond_memory)
            del answer
            gc.collect()
    except (EOFError, BrokenPipeError):
        return


def _fate_of(error: BaseException) -> NodeError:
    """A library that reads files failed on this one; or our own code did, which is no fault of the image."""
    if damage.is_of_file(error):
        return Undecodable(f"the image cannot be read: {type(error).__name__}")
    return OurFault(log.kind_of(error))


def _limit_memory(more: int) -> None:
    """So much address space more than the process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _limit_time(more: float) -> None:
    """So much computing time from now on; then SIGXCPU ends the process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = math.ceil(used.ru_utime + used.ru_stime + more)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
