"""Whose an image is, and that no patient is on both sides."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.training import make_images, read

from training import images as pictures
from training import patients
from training.config import ConfigError, TrainingConfig


def divide(config: TrainingConfig) -> patients.Split:
    return patients.split(pictures.find_images(config.data.root), config.data)


def test_no_patient_is_in_both_parts(config_file: Path) -> None:
    config = read(config_file)
    divided = divide(config)
    training, held_out = (
        {patients.patient_of(path, config.data.root) for path in part}
        for part in (divided.training, divided.validation)
    )
    assert not training & held_out
    assert len(divided.training) + len(divided.validation) == 12


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("person12_bacteria_47.jpeg", "kermany-P12"),
        ("person12_virus_3.jpeg", "kermany-P12"),
        ("IM-0117-0001.jpeg", "kermany-N0117"),
        ("NORMAL2-IM-0117-0002.jpeg", "kermany-N0117"),
        ("00001383_000.png", "nih-00001383"),
        ("00001383_011.png", "nih-00001383"),
        ("scan.png", "scan"),
    ],
)
def test_patients_are_known_by_file_name(name: str, patient: str) -> None:
    assert patients.patient_of(Path(name), Path()) == patient


def test_the_publishers_parts_are_kept_and_their_patients_apart(config_file: Path, tmp_path: Path) -> None:
    """The Kermany layout: val validates, test is never read, and no patient of either is trained on."""
    root = tmp_path / "chest_xray"
    for part, numbers in (("train", range(6)), ("val", range(5, 7)), ("test", range(4, 5))):
        make_images(root / part / "PNEUMONIA", numbers, name="person{}_virus_{}.jpeg")
    divided = divide(read(config_file, f"data.root={root}"))
    assert {path.parts[-3] for path in divided.training} == {"train"}
    assert {path.parts[-3] for path in divided.validation} == {"val"}
    assert {patients.patient_of(path, root) for path in divided.training} == {f"kermany-P{n}" for n in range(4)}
    assert "4 images of train/ are left out" in divided.how
    with pytest.raises(ConfigError, match=rf"lie in {root}; set data.root={root}, or data.split=patients"):
        divide(read(config_file, f"data.root={tmp_path}"))
    by_patient = divide(read(config_file, f"data.root={root}", "data.split=patients"))
    assert len(by_patient.training) + len(by_patient.validation) == 18


def test_patients_are_known_by_their_folder(tmp_path: Path) -> None:
    """CheXpert, MIMIC-CXR; a file of another scheme is a patient of its own, and so is a DICOM file without an id."""
    for path, patient in (
        ("train/patient00012/study1/view1_frontal.jpg", "folder-patient00012"),
        ("files/p10/p10000032/s50414267/02aa804e.jpg", "folder-p10000032"),
        ("p1/scan.png", "scan"),
    ):
        assert patients.patient_of(tmp_path / path, tmp_path) == patient
    for name in ("1.2.3.4", "1.2.3.5"):
        (tmp_path / name).write_bytes(bytes(128) + b"DICM")
        assert patients.patient_of(tmp_path / name, tmp_path) == name


def test_a_folder_above_the_root_is_nobody(tmp_path: Path) -> None:
    """An account or a project is often called p and a number."""
    root = tmp_path / "p123456" / "images"
    assert patients.patient_of(root / "scan.png", root) == "scan"
    assert patients.patient_of(root / "p777" / "scan.png", root) == "folder-p777"


def test_fewer_patients_leave_the_publisher_s_validation(config_file: Path, tmp_path: Path) -> None:
    root = tmp_path / "chest_xray"
    for part, numbers in (("train", range(20)), ("val", range(50, 52))):
        make_images(root / part, numbers)
    divided = divide(read(config_file, f"data.root={root}", "data.patients=3"))
    assert (len(divided.training), len(divided.validation)) == (6, 4)


def test_train_without_val_is_refused_with_the_remedy(config_file: Path, tmp_path: Path) -> None:
    make_images(tmp_path / "chest_xray" / "train")
    with pytest.raises(
        ConfigError, match="validation among 12 images of 6 patients; put images into train/ and val/, or set"
    ):
        divide(read(config_file, f"data.root={tmp_path / 'chest_xray'}"))
