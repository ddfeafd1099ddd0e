"""The DICOM files of an image and its results, for those who look at them or take them away."""

from __future__ import annotations

from pathlib import Path

from dicom_sr_node.actions.actor import Actor
from dicom_sr_node.domain.errors import NotFound
from dicom_sr_node.web.base.context import AppContext


def download(context: AppContext, actor: Actor, image_id: int, output_id: int | None) -> Path:
    """The file of an image, or of one of its results, for somebody who takes it away. Raises NotFound."""
    path = source_path(context, image_id) if output_id is None else output_path(context, image_id, output_id)
    what = f"downloaded image {image_id}{'' if output_id is None else f' result {output_id}'}"
    context.note(actor.name, actor.address, what)
    return path


def source_path(context: AppContext, image_id: int) -> Path:
    """Raises NotFound, also for an image that was purged."""
    image = context.store.instances.get(image_id)
    path = context.spool.path("in", image.file)
    if image.purged_at or not path.is_file():
        raise NotFound(f"the file of image {image_id} is not here any more")
    return path


def output_path(context: AppContext, image_id: int, output_id: int) -> Path:
    """Raises NotFound, also for an output of another image."""
    output = context.store.outputs.get(output_id)
    path = context.spool.path("outbox", output.file)
    if context.store.instances.of_output(output_id).id != image_id or not path.is_file():
        raise NotFound(f"image {image_id} has no result {output_id} here")
    return path
