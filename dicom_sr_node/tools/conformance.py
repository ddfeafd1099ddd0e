"""The tables of the conformance statement, made from the code, so that they cannot drift from it.

`docs/conformance-statement.md` holds each between `<!-- table NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from pydantic import BaseModel
from pydicom.uid import UID, EnhancedSRStorage, SecondaryCaptureImageStorage

from dicom_sr_node import __version__
from dicom_sr_node.commitment import wire
from dicom_sr_node.config.destinations import Peer
from dicom_sr_node.config.rules import Rule
from dicom_sr_node.config.settings import Settings
from dicom_sr_node.derive import encoding, policy, rejection, report
from dicom_sr_node.derive.policy import AttributeAction
from dicom_sr_node.dicom import software, sop_kinds, statuses, syntaxes
from dicom_sr_node.dicom.modules import MODULES
from dicom_sr_node.dicom.sop_kinds import KINDS
from dicom_sr_node.domain.errors import NotFound
from dicom_sr_node.domain.records import SkipReason
from dicom_sr_node.network import guard

_ANSWERS_OF_PEERS = (
    0x0000,
    0x0110,
    0x0111,
    0x0112,
    0x0117,
    0x0122,
    0x0124,
    0x0210,
    0x0213,
    0xA700,
    0xA900,
    0xB000,
    0xB006,
    0xB007,
    0xC000,
)
_REASONS = {
    SkipReason.MAMMOGRAPHY: "MG, and the rule that takes it does not name MG in `match.modality`",
    SkipReason.NOT_NAMED: "a class that only a rule may ask for, and the rule that takes it does not name its modality",
    SkipReason.OURS: "Image Type or Manufacturer says that this software made it",
    SkipReason.BY_AI: "Synthetic Data is YES, or a Contributing Equipment has the purpose 109100",
    SkipReason.FOR_PROCESSING: "Presentation Intent Type is FOR PROCESSING",
    SkipReason.ENCRYPTED: "it has an Encrypted Attributes Sequence",
    SkipReason.NO_PIXELS: "there is no Pixel Data",
    SkipReason.MULTI_FRAME: "Number of Frames is not 1",
    SkipReason.COLOUR: "Samples per Pixel is not 1, or it is neither MONOCHROME1 nor MONOCHROME2",
    SkipReason.DEPTH: "Bits Allocated is neither 8 nor 16",
    SkipReason.QUALITY_CONTROL: "Quality Control Image is YES",
    SkipReason.TOO_SMALL: "less than 16 pixels on a side",
    SkipReason.TOO_LARGE: "the result would exceed `model.max_output_megapixels` at the smallest scale, or the file "
    "is far larger than such an image",
    SkipReason.NO_RULE: "there are rules, and none takes it",
    SkipReason.QUALITY: "the result does not average to the source, is not finite, or adds more detail than twice the "
    'most seen in validation (unless the rule says `unusual = "send"`)',
    SkipReason.CANCELLED: "cancelled by hand",
}


def _table(headings: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    lines = [list(headings), *([str(cell).replace("|", "\\|") for cell in row] for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def classes() -> str:
    """Every SOP class and its roles."""
    roles = [*((kind.uid, "SCP, SCU") for kind in KINDS.values())]
    roles += [(SecondaryCaptureImageStorage, "SCP (stored, not upscaled), SCU (heat map)")]
    roles += [(EnhancedSRStorage, "SCP (stored, not upscaled), SCU (report)")]
    roles += [(rejection.SOP_CLASS, "SCP (stored, not upscaled), SCU (rejection note)")]
    named = {str(uid) for uid, _ in roles}
    others = [uid for uid in syntaxes.storage_classes("all") if uid not in named]
    rows: list[tuple[object, ...]] = [(UID("1.2.840.10008.1.1").name, "1.2.840.10008.1.1", "SCP, SCU")]
    rows += [(uid.name, uid, role) for uid, role in roles]
    rows += [(wire.SOP_CLASS.name, wire.SOP_CLASS, "SCU, SCP")]
    rows += [(f"{len(others)} other storage classes", "those of pynetdicom", "SCP (stored, not upscaled)")]
    return _table(("SOP class", "UID", "role"), rows)


def accepted() -> str:
    """Transfer syntaxes of the SCP, in its order of preference."""
    return _table(("transfer syntax", "UID"), ((uid.name, uid) for uid in syntaxes.ACCEPTED))


def proposed() -> str:
    """Transfer syntaxes of the SCU."""
    rows = [(encoding.COMPRESSED.name, encoding.COMPRESSED, 'derived images, unless `compression = "none"`')]
    rows += [(uid.name, uid, "everything") for uid in syntaxes.UNCOMPRESSED]
    return _table(("transfer syntax", "UID", "proposed for"), rows)


def association() -> str:
    """What every association has in common."""
    return _table(
        ("what", "value"),
        (
            ("Application Context", "1.2.840.10008.3.1.1.1"),
            ("Implementation Class UID", software.IMPLEMENTATION_CLASS_UID),
            ("Implementation Version Name", software.IMPLEMENTATION_VERSION),
            ("Maximum PDU length, received", guard.MAX_PDU_BYTES),
            ("Asynchronous operations", "none"),
            ("SOP class extended negotiation", "none"),
        ),
    )


def answers() -> str:
    """Statuses of the C-STORE SCP."""
    return _table(("status", "meaning"), ((f"0x{code:04X}", meaning) for code, meaning in statuses.ANSWERS.items()))


def reactions() -> str:
    """What the C-STORE SCU does about each status."""
    rows = []
    for code in _ANSWERS_OF_PEERS:
        if statuses.is_stored(code):
            does = "stored" if code == statuses.SUCCESS else "stored, with a warning in the journal"
        else:
            does = statuses.error_for(code, "").fate
        family = code >> 8 in (0xA7, 0xA9) or code >> 12 == 0xC
        number = f"0x{code >> 8:02X}xx" if family and code >> 12 != 0xC else "0xCxxx" if family else f"0x{code:04X}"
        rows.append((number, statuses.text(code).partition(" ")[2], does))
    return _table(("status", "meaning", "what the node does"), rows)


def reasons() -> str:
    """Why an image is not upscaled."""
    when = {SkipReason.NOT_A_RADIOGRAPH: f"another SOP class than {sop_kinds.names()}", **_REASONS}
    return _table(("reason", "when"), ((reason, when[reason]) for reason in SkipReason))


def attributes() -> str:
    """The attribute policy of derived images."""
    module = {keyword: name for name, keywords in MODULES.items() for keyword in keywords}
    rows = []
    for keyword, tag, fate in policy.table():
        if keyword:
            value = policy.SET.get(keyword, "")
            rows.append((f"({tag.group:04X},{tag.element:04X})", keyword, module.get(keyword, ""), fate, value))
    rows.append(
        (
            "(60xx,eeee)",
            "overlay planes",
            "Overlay Plane",
            AttributeAction.SCALE,
            "each bit s x s; ROI statistics dropped",
        )
    )
    rows.append(("", "all others, private ones among them", "", AttributeAction.DROP, ""))
    return _table(("tag", "attribute", "module", "fate", "value"), rows)


def codes() -> str:
    """The private coding scheme of the report."""
    return _table(
        ("code", "scheme", "meaning"), ((key, report.SCHEME, meaning) for key, meaning in report.CODES.items())
    )


def configuration() -> str:
    """Every key and its default."""
    rows: list[tuple[object, ...]] = []
    for section, field in Settings.model_fields.items():
        if isinstance(field.default, BaseModel):
            rows += _keys(section, type(field.default))
    rows += [*_keys("peers.NAME", Peer), *_keys("rules[]", Rule)]
    return _table(("key", "default"), rows)


def _keys(prefix: str, model: type[BaseModel]) -> Iterable[tuple[object, ...]]:
    for key, field in model.model_fields.items():
        if isinstance(field.default, BaseModel):
            yield from _keys(f"{prefix}.{key}", type(field.default))
        else:
            default = "(needed)" if field.is_required() else f"`{field.default}`"
            yield f"`{prefix}.{key}`", default


TABLES: dict[str, Callable[[], str]] = {
    "classes": classes,
    "association": association,
    "accepted": accepted,
    "proposed": proposed,
    "answers": answers,
    "reactions": reactions,
    "reasons": reasons,
    "attributes": attributes,
    "codes": codes,
    "configuration": configuration,
}
_PLACE = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def render() -> str:
    """All tables, with headings."""
    return "\n\n".join([f"dicom_sr_node {__version__}", *(f"## {name}\n\n{make()}" for name, make in TABLES.items())])


def filled(document: str) -> str:
    """A document with its tables made anew. Raises NotFound for a table that does not exist."""

    def one(match: re.Match[str]) -> str:
        if match[2] not in TABLES:
            raise NotFound(f"no table {match[2]!r}; known tables: {', '.join(TABLES)}")
        return f"{match[1]}\n{TABLES[match[2]]()}\n\n{match[3]}"

    return _PLACE.sub(one, document)
