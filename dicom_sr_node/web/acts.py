"""What people and programs can do to images and weights. Everything is audited under the name of who does it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from dicom_sr_node.errors import NotFound
from dicom_sr_node.in_service import ModelAct, change
from dicom_sr_node.records import Delivery, State
from dicom_sr_node.store.accounts import Person
from dicom_sr_node.web.desk import Desk


class Act(StrEnum):
    """On one image."""

    RETRY = "retry"
    CANCEL = "cancel"
    SEND_AGAIN = "send-again"
    URGENT = "urgent"
    HOLD = "hold"
    RELEASE = "release"


def on_image(desk: Desk, person: Person, address: str, image_id: int, act: Act) -> str:
    """What was done, in words. Raises NotFound where the image's state does not allow it."""
    job_id = int(desk.store.search.image(image_id)["job_id"])
    told = _ON_IMAGE[act](desk, job_id, f"by {person.name}")
    desk.note(person.name, address, f"{act} image {image_id}")
    return told


def _retry(desk: Desk, job_id: int, who: str) -> str:
    if desk.store.jobs.get(job_id).state != State.DONE:
        desk.store.jobs.retry(job_id, who)
        return "It waits for a worker again."
    count = desk.store.deliveries.retry(job_id, who)
    if not count and desk.store.deliveries.is_sending(job_id):
        return "It is being sent just now."
    if not count:
        raise NotFound("Everything of it is delivered.")
    return f"{_count(count)} at once."


def _cancel(desk: Desk, job_id: int, who: str) -> str:
    desk.store.jobs.cancel(job_id, who)
    return "It will not be upscaled. The image stays."


def _send_again(desk: Desk, job_id: int, who: str) -> str:
    count = desk.store.deliveries.repeat(job_id, who)
    if not count:
        raise NotFound("Nothing of it was delivered yet.")
    return f"{_count(count)} again, the same bytes."


def _count(deliveries: int) -> str:
    return "1 delivery is tried" if deliveries == 1 else f"{deliveries} deliveries are tried"


def _urgent(desk: Desk, job_id: int, who: str) -> str:
    desk.store.jobs.hurry(job_id, who)
    return "It is next."


def _hold(desk: Desk, job_id: int, who: str, *, held: bool) -> str:
    desk.store.instances.hold(desk.store.jobs.get(job_id).instance_id, held, who)
    return "It is kept: retention does not remove it." if held else "Retention may remove it again."


_ON_IMAGE: dict[Act, Callable[[Desk, int, str], str]] = {
    Act.RETRY: _retry,
    Act.CANCEL: _cancel,
    Act.SEND_AGAIN: _send_again,
    Act.URGENT: _urgent,
    Act.HOLD: partial(_hold, held=True),
    Act.RELEASE: partial(_hold, held=False),
}


def possible(image: Mapping[str, Any], ways: Collection[Delivery]) -> list[Act]:
    """What an image's state allows now. image: a row of `Search`."""
    state, held, states = image["state"], bool(image["held"]), {way.state for way in ways}
    sent = State.DONE in states and not image["purged_at"]
    found = []
    if state in (State.DEAD, State.SKIPPED) or states & {State.DEAD, State.READY}:
        found.append(Act.RETRY)
    if state in (State.READY, State.RUNNING):
        found.append(Act.CANCEL)
    if state == State.READY:
        found.append(Act.URGENT)
    if sent:
        found.append(Act.SEND_AGAIN)
    return [*found, Act.RELEASE if held else Act.HOLD]


def on_models(desk: Desk, person: Person, address: str, act: ModelAct, name: str = "", share: float = 0.0) -> str:
    """What was done, in words. Raises NodeError for weights that are not there or not what their card says."""
    told = change(desk.store.service, desk.shelf, act, name, share)
    desk.note(person.name, address, told)
    return told


def taken_away(desk: Desk, person: Person, address: str, image_id: int, output_id: int | None) -> Path:
    """The DICOM file of an image, or of one of its results, for somebody who downloads it. Raises NotFound."""
    path = path_of_source(desk, image_id) if output_id is None else path_of_output(desk, image_id, output_id)
    desk.note(person.name, address, f"downloaded image {image_id}{'' if output_id is None else f' result {output_id}'}")
    return path


def path_of_source(desk: Desk, image_id: int) -> Path:
    """Raises NotFound, also for an image that was purged."""
    image = desk.store.instances.get(image_id)
    path = desk.spool.path("in", image.file)
    if image.purged_at or not path.is_file():
        raise NotFound(f"the file of image {image_id} is not here any more")
    return path


def path_of_output(desk: Desk, image_id: int, output_id: int) -> Path:
    """Raises NotFound, also for an output of another image."""
    output = desk.store.outputs.get(output_id)
    path = desk.spool.path("outbox", output.file)
    if desk.store.instances.of_output(output_id).id != image_id or not path.is_file():
        raise NotFound(f"image {image_id} has no result {output_id} here")
    return path
