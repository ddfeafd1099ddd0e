"""Derive one DICOM file and hold it against its source: python examples/derive_and_verify.py SOURCE.dcm DERIVED.dcm"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from dicom_sr_node.config.settings import Settings
from dicom_sr_node.derive import encoding
from dicom_sr_node.dicom.validation import relax_validation
from dicom_sr_node.domain.records import Origin
from dicom_sr_node.pixels.sandbox import DecoderProcess
from dicom_sr_node.rules.plan import PlanRequest
from dicom_sr_node.rules.routing import IN_SERVICE
from dicom_sr_node.verify.verification import verify
from dicom_sr_node.work.pipeline import Pipeline
from model.upscaler import Upscaler


def main(source: Path, derived: Path) -> int:
    relax_validation()
    settings, upscaler = Settings(), Upscaler.load("xr-lite")
    request = PlanRequest(settings.rules, settings.model, settings.derive.label, {IN_SERVICE: upscaler.scales})
    with DecoderProcess(settings.work) as decoder:  # foreign files are decoded in a process of their own
        pipeline = Pipeline(decoder, lambda name: upscaler, settings.derive)
        result = pipeline.run(source, request, Origin(), datetime.now(UTC)).results[0]
        derived.write_bytes(encoding.plain(result.image))
        checks = verify(derived, source, decoder)
    for check in checks:
        print(f"{'PASS' if check.passed else 'FAIL'}  {check.name}: {check.found}")
    return 0 if all(check.passed for check in checks) else 1


if __name__ == "__main__":  # the process that decodes imports this file, too
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
