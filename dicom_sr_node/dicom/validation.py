"""A switch for the whole process: faults in the headers of others are neither corrected nor announced.

A derived object repeats the source's identity byte for byte, faults included; the values stay out of warnings and logs.
"""

from __future__ import annotations

import pydicom.config


def relax_validation() -> None:
    """Call once at the start of a process."""
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
