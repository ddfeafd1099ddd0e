"""The gate: every reason of the closed list, told before anything is decoded."""

from __future__ import annotations

from typing import Any

import pytest
from kit import image, shared
from pydicom import DataElement, Dataset, dcmread
from pydicom.uid import SecondaryCaptureImageStorage

from dicom_sr_node import routing
from dicom_sr_node.errors import Skipped
from dicom_sr_node.pixels import gate
from dicom_sr_node.records import Origin, Reason
from dicom_sr_node.routing import EVERYTHING
from dicom_sr_node.settings import Match, Rule

MG = gate.DigitalMammographyXRayImageStorageForPresentation
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
    assert gate.admit(image(modality=modality), EVERYTHING) is EVERYTHING


def test_equipment_that_only_processed_an_image_is_no_reason() -> None:
    gate.admit(changed(ContributingEquipmentSequence=equipment("109102")), EVERYTHING)


REASONS: dict[Reason, list[dict[str, Any]]] = {
    Reason.NOT_A_RADIOGRAPH: [
        {"SOPClassUID": SecondaryCaptureImageStorage},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1.1"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.2.1"},
    ],
    Reason.MAMMOGRAPHY: [{"SOPClassUID": MG, "Modality": "MG"}],
    Reason.OURS: [
        {"ImageType": ["DERIVED", "SECONDARY", "", "AI_SUPERRES"]},
        {"Manufacturer": "dicom_sr_node", "ImageType": "DERIVED"},
    ],
    Reason.BY_AI: [{"SyntheticData": "YES"}, {"ContributingEquipmentSequence": equipment("109100")}],
    Reason.FOR_PROCESSING: [{"PresentationIntentType": "FOR PROCESSING"}],
    Reason.ENCRYPTED: [{"EncryptedAttributesSequence": []}],
    Reason.NO_PIXELS: [{"PixelData": None}, {"PixelData": b""}],
    Reason.MULTI_FRAME: [{"NumberOfFrames": 2}],
    Reason.COLOUR: [
        {"SamplesPerPixel": 3},
        {"PhotometricInterpretation": "PALETTE COLOR"},
        {"PhotometricInterpretation": "RGB"},
    ],
    Reason.DEPTH: [{"BitsAllocated": 32}, {"BitsAllocated": 1}, {"BitsAllocated": None}],
    Reason.QUALITY_CONTROL: [{"QualityControlImage": "YES"}],
    Reason.TOO_SMALL: [{"Rows": 15}, {"Columns": 0}],
}


@pytest.mark.parametrize(
    ("reason", "values"), [(reason, values) for reason, all_values in REASONS.items() for values in all_values]
)
def test_each_reason_to_skip_is_told(reason: Reason, values: dict[str, object]) -> None:
    with pytest.raises(Skipped) as caught:
        gate.admit(changed(**values), EVERYTHING)
    assert caught.value.reason is reason
    assert str(caught.value).startswith(f"{reason}: ")


@pytest.mark.parametrize("frames", ["abc", "", "-", "1"])
def test_a_number_of_frames_that_says_nothing_is_no_reason(frames: str) -> None:
    gate.admit(changed(NumberOfFrames=DataElement("NumberOfFrames", "LO", frames)), EVERYTHING)


def test_of_two_modalities_the_first_counts() -> None:
    rule = Rule(name="dx", match=Match(modality=("DX",)))
    assert routing.rule_for(changed(Modality=["DX", "CR"]), (rule,), Origin()) is rule


def test_mammography_is_upscaled_where_a_rule_names_it() -> None:
    mammogram = changed(SOPClassUID=MG, Modality="MG")
    assert gate.admit(mammogram, FOR_MG) is FOR_MG


def test_an_image_that_no_rule_takes_is_told() -> None:
    with pytest.raises(Skipped, match="no rule: dx: modality is CR, not DX"):
        gate.admit(image(), None, "dx: modality is CR, not DX")


def test_scale_auto_takes_the_largest_that_fits() -> None:
    assert gate.scale_for(2000, 2000, "auto", (4, 2), CAP) == 4
    assert gate.scale_for(3000, 3000, "auto", (4, 2), CAP) == 2
    with pytest.raises(Skipped, match="too large: 5000x5000 at x2 is 100 megapixels, the cap is 64"):
        gate.scale_for(5000, 5000, "auto", (4, 2), CAP)
    with pytest.raises(Skipped, match="too large"):
        gate.scale_for(3000, 3000, 4, (4, 2), CAP)
    with pytest.raises(Skipped, match="too large"):
        gate.scale_for(20, 40000, "auto", (4, 2), CAP)


def test_real_files_are_admitted_or_skipped_as_they_should() -> None:
    expected = {"mg-": Reason.MAMMOGRAPHY, "sc-": Reason.NOT_A_RADIOGRAPH}
    for path in sorted(shared("dicom").glob("*.dcm")):
        ds = dcmread(path)
        if path.name.startswith(("cr-", "dx-")):
            gate.admit(ds, EVERYTHING)
        elif path.name[:3] in expected:
            with pytest.raises(Skipped) as caught:
                gate.admit(ds, EVERYTHING)
            assert caught.value.reason is expected[path.name[:3]]
