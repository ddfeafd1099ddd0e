"""This node: who it is, where its data lies, and how long."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from dicom_sr_node.config.types import AETitle, Days, Section

_DAY_S = 86_400.0


class NodeSettings(Section):
    """Who this node is and where its data lies."""

    ae_title: AETitle = "SRNODE"
    """What modalities and the PACS call this node."""
    data_dir: Path = Path("var")
    """Database, received images and results: back it up. One node for each folder."""
    spool_dir: Annotated[Path | None, Field(examples=["/srv/spool"])] = None
    """Images and results elsewhere than in data_dir: a folder that several machines share."""

    @property
    def spool(self) -> Path:
        """Where images and results lie."""
        return self.spool_dir or self.data_dir / "spool"

    @property
    def out_dir(self) -> Path:
        """Where results without a destination go."""
        return self.data_dir / "out"


class DiskSettings(Section):
    """How full the disk may become."""

    reserve_mb: Annotated[int, Field(ge=0)] = 5120
    """With less space than this (or than 10 % of a small disk) nothing more is taken."""


class RetentionSettings(Section):
    """How long files stay: they are removed so long ..."""

    delivered_days: Days = 30
    """... after everything was delivered, and committed to where that is asked for."""
    skipped_days: Days = 7
    """... after an image was skipped."""
    undelivered_days: Days = 30
    """A result that no peer took for so long is dead: nothing is removed, somebody must look."""

    @property
    def delivered_s(self) -> float:
        """In seconds, as all that the code counts in."""
        return self.delivered_days * _DAY_S

    @property
    def skipped_s(self) -> float:
        """In seconds."""
        return self.skipped_days * _DAY_S

    @property
    def undelivered_s(self) -> float:
        """In seconds."""
        return self.undelivered_days * _DAY_S


class DatabaseSettings(Section):
    """Where the queue lives."""

    url: str = ""
    """Empty: SQLite in data_dir; or postgresql+psycopg://user:password@host/name."""

    @model_validator(mode="after")
    def _served(self) -> DatabaseSettings:
        if self.url and not self.url.startswith(("sqlite:///", "postgresql+psycopg://")):
            raise ValueError("url is empty, sqlite:///PATH or postgresql+psycopg://...")
        return self

    @property
    def is_served(self) -> bool:
        """Whether a server keeps it, so that several machines may use it."""
        return self.url.startswith("postgresql")
