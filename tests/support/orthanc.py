"""A real Orthanc."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import httpx
from support.tools import ENVIRONMENT, free_port, need, wait_until


class Orthanc:
    """A real Orthanc on loopback."""

    def __init__(self, folder: Path, **more: Any) -> None:
        self.folder, self.port, self.http = folder, free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.http}"
        self._more = more
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Orthanc:
        program = need("Orthanc", "orthanc")
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "orthanc.json"
        values = {
            "Name": "TEST",
            "StorageDirectory": str(self.folder / "db"),
            "IndexDirectory": str(self.folder / "db"),
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "HttpPort": self.http,
            "DicomPort": self.port,
            "DicomAet": "ORTHANC",
            "DicomCheckCalledAet": False,
            "Plugins": [],
            **self._more,
        }
        config.write_text(json.dumps(values))
        with (self.folder / "orthanc.log").open("ab") as file:
            self._process = subprocess.Popen([program, str(config)], stdout=file, stderr=file, env=ENVIRONMENT)
        wait_until(lambda: self.get("/system"), 60, "Orthanc's start")
        return self

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
            self._process = None

    def get(self, path: str) -> Any:
        """The JSON of a REST answer, or None while it does not answer."""
        try:
            answer = httpx.get(f"{self.url}{path}", timeout=20)
        except httpx.TransportError:
            return None
        return answer.json() if answer.is_success else None

    def instances(self) -> list[dict[str, Any]]:
        """Each instance with its tags."""
        return list(self.get("/instances?expand") or [])

    def file(self, instance_id: str, path: Path) -> Path:
        answer = httpx.get(f"{self.url}/instances/{instance_id}/file", timeout=60)
        path.write_bytes(answer.raise_for_status().content)
        return path
