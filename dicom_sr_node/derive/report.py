"""A measurement report (TID 1500) about one derived image: the model, and the numbers of its quality gate."""

from __future__ import annotations

from datetime import datetime

from highdicom import sr
from pydicom import Dataset
from pydicom.sr.codedict import codes

from dicom_sr_node.derive import identity
from dicom_sr_node.derive.companion import accompany
from dicom_sr_node.derive.identity import Algorithm
from dicom_sr_node.dicom import software
from dicom_sr_node.quality import Quality

SCHEME = "99SRNODE"  # our private coding scheme, in the conformance statement
CODES = {
    "SR-001": "Super-resolution quality",
    "SR-002": "Blocks that do not average to the source value",
    "SR-003": "Root mean square of added detail",
    "SR-004": "Added detail as share of image contrast",
    "SR-005": "Distance from the range seen in validation, octaves",
    "SR-006": "Enlargement",
}
_NEEDED = (  # of evidence, by highdicom
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
)
_NO_UNIT = sr.CodedConcept("1", "UCUM", "no units")
_PERCENT = sr.CodedConcept("%", "UCUM", "percent")


def report(
    source: Dataset, image: Dataset, quality: Quality, algorithm: Algorithm, now: datetime, remark: str = ""
) -> sr.EnhancedSR:
    """source: its header. image: the derived image, complete. remark: what the image says beside the usual."""
    identification = sr.AlgorithmIdentification(
        name=algorithm.model[:64],
        version=algorithm.version,
        manufacturer=software.NAME,
        parameters=[f"scale={algorithm.scale}", f"weights sha256={algorithm.sha256}", *([remark] if remark else [])],
    )
    numbers = {
        "SR-002": (quality.wrong_blocks, _NO_UNIT),
        "SR-003": (round(quality.detail.rms, 4), _NO_UNIT),
        "SR-004": (round(100 * quality.detail.share, 4), _PERCENT),
        "SR-005": (quality.score, _NO_UNIT),
        "SR-006": (algorithm.scale, _NO_UNIT),
    }
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=identity.device_uid(algorithm),
        name=software.NAME,
        manufacturer_name=software.NAME,
        model_name=algorithm.model[:64],
        serial_number=algorithm.sha256[:16],
    )
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=identity.companion_uid(source, algorithm, "tracking", str(image.SOPInstanceUID)),
            identifier="derived image",
        ),
        finding_type=_code("SR-001"),
        algorithm_id=identification,
        measurements=[
            sr.Measurement(name=_code(key), value=float(value), unit=unit)
            for key, (value, unit) in numbers.items()
            if value is not None
        ],
        source_images=[sr.SourceImageForMeasurementGroup(image.SOPClassUID, image.SOPInstanceUID)],
    )
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(
            observer_device_context=sr.ObserverContext(
                observer_type=codes.DCM.Device, observer_identifying_attributes=device
            )
        ),
        procedure_reported=sr.CodedConcept("168537006", "SCT", "Plain radiography"),
        imaging_measurements=[group],
        title=codes.DCM.ImagingMeasurementReport,
    )
    document = sr.EnhancedSR(
        evidence=[_evidence(image), _evidence(source)],
        content=content[0],
        series_instance_uid=identity.companion_uid(source, algorithm, "report series", str(source.SeriesInstanceUID)),
        series_number=identity.series_number(source) + 2 * identity.SERIES_NUMBER_OFFSET,
        sop_instance_uid=identity.companion_uid(source, algorithm, "report", str(image.SOPInstanceUID)),
        instance_number=1,
        manufacturer=software.NAME,
        is_complete=True,
        series_description=f"AI SR x{algorithm.scale} quality",
    )
    accompany(document, source, algorithm, now)
    return document


def _evidence(ds: Dataset) -> Dataset:
    """An instance as highdicom wants it; the text of the source may be anything, and is put in unread afterwards."""
    instance = Dataset()
    instance.SOPClassUID, instance.SOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    instance.StudyInstanceUID, instance.SeriesInstanceUID = ds.StudyInstanceUID, ds.SeriesInstanceUID
    for keyword in _NEEDED:
        setattr(instance, keyword, None)
    return instance


def _code(key: str) -> sr.CodedConcept:
    return sr.CodedConcept(key, SCHEME, CODES[key])
