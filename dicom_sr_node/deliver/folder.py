"""The destination when none is configured.

`data_dir/out/SERIES/INSTANCE.dcm`, named by the derived UIDs, which are ours; uncompressed, so that anything reads it.
"""

from __future__ import annotations

from pathlib import Path

from dicom_sr_node import spool
from dicom_sr_node.derive import encoding
from dicom_sr_node.errors import PeerBusy
from dicom_sr_node.pixels import header
from dicom_sr_node.records import Output


def send(output: Output, source: Path, folder: Path) -> str:
    """Write durably; sending again replaces the file by the same bytes. Raises PeerBusy: the disk may come back."""
    target = folder / output.series_uid / f"{output.sop_instance_uid}.dcm"
    try:
        spool.write(target, encoding.plain(header.read(source)))
    except OSError as error:
        raise PeerBusy(f"cannot write {target}: {error}") from error
    return ""
