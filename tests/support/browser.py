"""A real browser without a window: Chromium, driven by its DevTools protocol over a pipe (JSON ended by NUL)."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import io
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from support.tools import ENVIRONMENT, need, wait_until

WIDTH, HEIGHT = 1200, 900
_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-component-update",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
    f"--window-size={WIDTH},{HEIGHT}",
]
_ON_3_AND_4 = (
    "import os, sys; r, w = map(int, sys.argv[1:3]); os.dup2(r, 3); os.dup2(w, 4); os.execvp(sys.argv[3], sys.argv[3:])"
)


class Browser:
    """One page."""

    def start(self) -> None:
        program = need("chromium", "chromium")
        self._home = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        their_read, self._write = os.pipe()
        self._read, their_write = os.pipe()
        high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (their_read, their_write)]
        command = [sys.executable, "-c", _ON_3_AND_4, *map(str, high), program, *_FLAGS]
        self._process = subprocess.Popen(
            [*command, f"--user-data-dir={self._home.name}", "--remote-debugging-pipe", "about:blank"],
            pass_fds=high,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**ENVIRONMENT, "HOME": self._home.name},
        )
        for end in (their_read, their_write, *high):
            os.close(end)
        self._received, self._count, self._session = b"", 0, ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Emulation.setDeviceMetricsOverride", width=WIDTH, height=HEIGHT, deviceScaleFactor=1, mobile=False)
        self.call("Page.enable")

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._read)
        os.close(self._write)
        self._home.cleanup()

    def call(self, method: str, *, within_s: float = 60, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol and its answer."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + within_s
        while True:
            head, found, rest = self._received.partition(b"\0")
            if not found:
                ready, _, _ = select.select([self._read], [], [], max(0, deadline - time.monotonic()))
                assert ready, f"the browser does not answer {method}"
                read = os.read(self._read, 1 << 20)
                assert read, "the browser ended"
                self._received += read
                continue
            self._received = rest
            answer = json.loads(head)
            dialog = answer.get("method") == "Page.javascriptDialogOpening"
            assert not dialog, f"the page says: {answer['params']['message']}"
            if answer.get("id") == self._count:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result

    def run(self, script: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def open(self, url: str, ready: str, *, first: str = "") -> None:
        """Load a page and wait until the expression `ready` is true; `first` runs before the page's own scripts."""
        if first:
            self.call("Page.addScriptToEvaluateOnNewDocument", source=first)
        self.call("Page.navigate", url=url)
        here = json.dumps(url)
        wait_until(
            lambda: self.run(f"(() => {{ try {{ return location.href === {here} && !!({ready}) }} catch {{ }} }})()"),
            60,
            f"{url} being shown",
        )

    def screenshot(self) -> bytes:
        """A PNG of the page."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])


def picture(data_url: str) -> NDArray[np.uint8]:
    """The gray levels of an image that a page gave as a data URL."""
    with Image.open(io.BytesIO(base64.b64decode(data_url.partition(",")[2]))) as image:
        return np.asarray(image.convert("L"))
