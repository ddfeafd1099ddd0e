"""A DICOM node that makes radiographs sharper and can be trusted with them."""

__version__ = "0.1.0"
