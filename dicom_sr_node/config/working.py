"""What is done to an image."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dicom_sr_node.config.types import Count, Label, Name, Scale, Seconds, Section, Window
from dicom_sr_node.runtime.backoff import RetryPolicy


class ModelSettings(Section):
    """Which generator works, and how far it may go."""

    name: Name = "auto"
    """"auto", a name from `srnode models ls`, or the path of a .safetensors file."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """"auto" takes a GPU if there is one."""
    backend: Name = "torch"
    """What runs the generator: "torch", or a backend that was added. Other UIDs."""
    scale: Scale = "auto"
    """"auto": x4 if the result fits below, else x2."""
    max_output_megapixels: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 64
    """Larger results are not made."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the network's arithmetic; "auto": bfloat16 where the device has matrix units for it. Other UIDs."""
    unproven: bool = False
    """Serve weights that have not passed `srnode models qa`; every result says so."""


class WorkSettings(Section):
    """How jobs are held."""

    lease_s: Seconds = 120
    """A job comes back to the queue when its worker was silent for so long."""
    deadline_s: Seconds = 600
    """An image that takes longer is given up for this try."""
    max_attempts: Count = 5
    """Tries of one image before it is dead."""
    retry_first_s: Seconds = 5
    """The pause after a failed try; it doubles each time ..."""
    retry_max_s: Seconds = 60
    """... up to this."""
    poll_s: Seconds = 0.5
    """How often an idle worker looks for work."""
    decode_limit_s: Seconds = 6
    """Computing time that reading and decoding one image may take."""
    decode_memory_mb: Annotated[int, Field(ge=128)] = 768
    """Memory that reading and decoding may take."""
    off_peak: Window = ""
    """"19:00-06:00": when images of priority "backfill" are worked on; empty: any time."""

    @property
    def retry(self) -> RetryPolicy:
        """The pauses after failed tries of an image, and how many there are."""
        return RetryPolicy(self.retry_first_s, self.retry_max_s, self.max_attempts)


class DeriveSettings(Section):
    """How derived objects look, and what is made beside them."""

    label: Label = "burned"
    """"burned" into a corner, "overlay" plane that viewers can hide, or "none"."""
    heat_map: bool = False
    """Also send a colour picture of what was added and where."""
    report: bool = False
    """Also send a measurement report (TID 1500) with the model and the numbers of the image."""
