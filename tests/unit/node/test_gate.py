"""The gate: every reason of the closed list, told before anything is decoded."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom import DataElement, Dataset, dcmread
from pydicom.uid import DigitalMammographyXRayImageStorageForPresentation, SecondaryCaptureImageStorage
from support.images import image
from support.tools import shared

from dicom_sr_node.config.rules import Match, Rule
from dicom_sr_node.domain.errors import Skipped
from dicom_sr_node.domain.records import Origin, SkipReason
from dicom_sr_node.rules import eligibility, routing
from dicom_sr_node.rules.routing import EVERYTHING

MG = DigitalMammographyXRayImageStorageForPresentation
CAP = 64.0  # megapixels
FOR_MG = Rule(name="mammography", match=Match(modality=("MG",)))


def changed(**values: object) -> Dataset:
    ds = image()
    for keyword, value in values.items():
        if isinstance(value, DataElement):
            ds[value.tag] = DataElement(value.tag, "IS", None)
            ds[value.tag]._value = value.value  # as a damaged file has it
        else:
            setattr(ds, keyword, value)
    return ds


def equipment(code: str) -> list[Dataset]:
    purpose, item = Dataset(), Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator = code, "DCM"
    item.PurposeOfReferenceCodeSequence = [purpose]
    return [item]


@pytest.mark.parametrize("modality", ["CR", "DX"])
def test_a_radiograph_is_admitted(modality: str) -> None:
    assert eligibility.admit(image(modality=modality), EVERYTHING) is EVERYTHING


def test_equipment_that_only_processed_an_image_is_no_reason() -> None:
    eligibility.admit(changed(ContributingEquipmentSequence=equipment("109102")), EVERYTHING)


REASONS: dict[SkipReason, list[dict[str, Any]]] = {
    SkipReason.NOT_A_RADIOGRAPH: [
        {"SOPClassUID": SecondaryCaptureImageStorage},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1.1"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.2.1"},
    ],
    SkipReason.MAMMOGRAPHY: [{"SOPClassUID": MG, "Modality": "MG"}],
    SkipReason.OURS: [
        {"ImageType": ["DERIVED", "SECONDARY", "", "AI_SUPERRES"]},
        {"Manufacturer": "dicom_sr_node", "ImageType": "DERIVED"},
    ],
    SkipReason.BY_AI: [{"SyntheticData": "YES"}, {"ContributingEquipmentSequence": equipment("109100")}],
    SkipReason.FOR_PROCESSING: [{"PresentationIntentType": "FOR PROCESSING"}],
    SkipReason.ENCRYPTED: [{"EncryptedAttributesSequence": []}],
    SkipReason.NO_PIXELS: [{"PixelData": None}, {"PixelData": b""}],
    SkipReason.MULTI_FRAME: [{"NumberOfFrames": 2}],
    SkipReason.COLOUR: [
        {"SamplesPerPixel": 3},
        {"PhotometricInterpretation": "PALETTE COLOR"},
        {"PhotometricInterpretation": "RGB"},
    ],
    SkipReason.DEPTH: [{"BitsAllocated": 32}, {"BitsAllocated": 1}, {"BitsAllocated": None}],
    SkipReason.QUALITY_CONTROL: [{"QualityControlImage": "YES"}],
    SkipReason.TOO_SMALL: [{"Rows": 15}, {"Columns": 0}],
}


@pytest.mark.parametrize(
    ("reason", "values"), [(reason, values) for reason, all_values in REASONS.items() for values in all_values]
)
def test_each_reason_to_skip_is_told(reason: SkipReason, values: dict[str, object]) -> None:
    with pytest.raises(Skipped) as caught:
        eligibility.admit(changed(**values), EVERYTHING)
    assert caught.value.reason is reason
    assert str(caught.value).startswith(f"{reason}: ")


@pytest.mark.parametrize("frames", ["abc", "", "-", "1"])
def test_a_number_of_frames_that_says_nothing_is_no_reason(frames: str) -> None:
    eligibility.admit(changed(NumberOfFrames=DataElement("NumberOfFrames", "LO", frames)), EVERYTHING)


def test_of_two_modalities_the_first_counts() -> None:
    rule = Rule(name="dx", match=Match(modality=("DX",)))
    assert routing.rule_for(changed(Modality=["DX", "CR"]), (rule,), Origin()) is rule


def test_mammography_is_upscaled_where_a_rule_names_it() -> None:
    mammogram = changed(SOPClassUID=MG, Modality="MG")
    assert eligibility.admit(mammogram, FOR_MG) is FOR_MG


def test_an_image_that_no_rule_takes_is_told() -> None:
    with pytest.raises(Skipped, match="no rule: dx: modality is CR, not DX"):
        eligibility.admit(image(), None, "dx: modality is CR, not DX")


def test_scale_auto_takes_the_largest_that_fits() -> None:
    assert eligibility.scale_for(2000, 2000, "auto", (4, 2), CAP) == 4
    assert eligibility.scale_for(3000, 3000, "auto", (4, 2), CAP) == 2
    with pytest.raises(Skipped, match="too large: 5000x5000 at x2 is 100 megapixels, the cap is 64"):
        eligibility.scale_for(5000, 5000, "auto", (4, 2), CAP)
    with pytest.raises(Skipped, match="too large"):
        eligibility.scale_for(3000, 3000, 4, (4, 2), CAP)
    with pytest.raises(Skipped, match="too large"):
        eligibility.scale_for(20, 40000, "auto", (4, 2), CAP)


def test_real_files_are_admitted_or_skipped_as_they_should() -> None:
    expected = {"mg-": SkipReason.MAMMOGRAPHY, "sc-": SkipReason.NOT_A_RADIOGRAPH}
    for path in sorted(shared("dicom").glob("*.dcm")):
        ds = dcmread(path)
        if path.name.startswith(("cr-", "dx-")):
            eligibility.admit(ds, EVERYTHING)
        elif path.name[:3] in expected:
            with pytest.raises(Skipped) as caught:
                eligibility.admit(ds, EVERYTHING)
            assert caught.value.reason is expected[path.name[:3]]
