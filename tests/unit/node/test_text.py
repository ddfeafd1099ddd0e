"""Text comes back byte for byte: in every character set, transfer syntax and place, whatever the bytes are."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.dataset import FileDataset
from support.images import image, save, upscale
from support.tools import need, run

from dicom_sr_node.pixels.sandbox import DecoderProcess
from dicom_sr_node.verify.verification import verify
from model.upscaler import Upscaler

TEXTS = {
    "japanese": (["", "ISO 2022 IR 87"], b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B="),
    "half-width japanese": (["ISO_IR 13"], b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3"),
    "korean": (["", "ISO 2022 IR 149"], b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7"),
    "chinese": (["GB18030"], "Wang^XiaoDong=王^小东".encode("gb18030")),
    "utf-8": (["ISO_IR 192"], "Müller^Jörg=王^小东".encode()),
    "latin-1 said to be utf-8": (["ISO_IR 192"], b"Buc^J\xe9r\xf4me"),
    "shift-jis said to be ascii": (["ISO_IR 13"], b"\x8e\x52\x93\x63^\x91\xbe"),
    "no character set said": ([], b"Wr\xf6ng^Charset"),
    "an unknown character set": (["ISO_IR 999"], b"What^\xe9ver"),
}
SYNTAXES = {"explicit": "+te", "implicit": "+ti", "big endian": "+tb"}
PLACES = 3


def with_texts(charset: list[str], length: int) -> FileDataset:
    """A data set with so many bytes of @ at the top, in a sequence, and in a sequence of a sequence."""
    ds, item, inner = image(), Dataset(), Dataset()
    ds.SpecificCharacterSet = charset
    ds.PatientName = item.RequestedProcedureDescription = inner.CodeMeaning = "@" * length
    inner.CodeValue, inner.CodingSchemeDesignator = "T", "99X"
    item.RequestedProcedureCodeSequence = [inner]
    ds.RequestAttributesSequence = [item]
    return ds


@pytest.mark.filterwarnings("ignore:Unknown encoding")
@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("name", TEXTS)
def test_text_comes_back_byte_for_byte(
    tmp_path: Path, reader: DecoderProcess, upscaler: Upscaler, name: str, syntax: str
) -> None:
    charset, text = TEXTS[name]
    text += b" " * (len(text) % 2)
    plain, source, target = (tmp_path / f"{part}.dcm" for part in ("plain", "source", "derived"))
    content = save(with_texts(charset, len(text)), plain).read_bytes()
    assert content.count(b"@" * len(text)) == PLACES
    plain.write_bytes(content.replace(b"@" * len(text), text))
    run(need("dcmconv", "dcmtk"), SYNTAXES[syntax], plain, source)
    assert source.read_bytes().count(text) == PLACES
    upscale(source, target, reader, upscaler, scale=2)
    assert target.read_bytes().count(text) == PLACES
    assert [check.name for check in verify(target, source, reader) if not check.passed] == []


def test_a_changed_byte_in_a_sequence_is_seen(tmp_path: Path, reader: DecoderProcess, upscaler: Upscaler) -> None:
    text = b"J\xe9r\xf4me"
    source, target = tmp_path / "source.dcm", tmp_path / "derived.dcm"
    content = save(with_texts(["ISO_IR 192"], len(text)), source).read_bytes()
    source.write_bytes(content.replace(b"@" * len(text), text))
    upscale(source, target, reader, upscaler, scale=2)
    place = target.read_bytes().rindex(text)
    changed = bytearray(target.read_bytes())
    changed[place + 1] = 0xE8
    target.write_bytes(changed)
    assert "all else" in [check.name for check in verify(target, source, reader) if not check.passed]


def test_text_stored_as_unknown_is_text(tmp_path: Path, reader: DecoderProcess, upscaler: Upscaler) -> None:
    ds, text = image(), b"Buc^J\xe9r\xf4me"
    text += b" " * (len(text) % 2)
    ds.SpecificCharacterSet, ds.PatientName = "ISO_IR 192", "@" * len(text)
    source, target = save(ds, tmp_path / "source.dcm"), tmp_path / "derived.dcm"
    known = b"\x10\x00\x10\x00PN" + len(text).to_bytes(2, "little") + b"@" * len(text)
    content = source.read_bytes()
    assert known in content
    unknown = b"\x10\x00\x10\x00UN\0\0" + len(text).to_bytes(4, "little") + text
    source.write_bytes(content.replace(known, unknown))
    upscale(source, target, reader, upscaler, scale=2)
    assert b"\x10\x00\x10\x00PN" + len(text).to_bytes(2, "little") + text in target.read_bytes()
    assert [check.name for check in verify(target, source, reader) if not check.passed] == []
