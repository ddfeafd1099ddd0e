"""Which transfer syntaxes and SOP classes the node offers.

Deflated ones never: a small file can inflate without bound.
"""

from __future__ import annotations

from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)
from pynetdicom import AllStoragePresentationContexts

from dicom_sr_node.dicom.sop_kinds import KINDS

UNCOMPRESSED = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
ACCEPTED = [
    *UNCOMPRESSED,
    ExplicitVRBigEndian,
    JPEG2000Lossless,
    JPEG2000,
    JPEGLSLossless,
    JPEGLSNearLossless,
    JPEGLosslessSV1,
    JPEGLossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    RLELossless,
]
REFUSED = [DeflatedExplicitVRLittleEndian]


def storage_classes(accept: str) -> list[str]:
    """The SOP classes for `scp.accept`: `all` storage classes, or only `radiographs`."""
    if accept == "radiographs":
        return list(KINDS)
    return [str(context.abstract_syntax) for context in AllStoragePresentationContexts]
