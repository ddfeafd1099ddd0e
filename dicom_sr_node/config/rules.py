"""The rules: which images, and what becomes of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from dicom_sr_node.config.types import AETitle, Label, Name, Scale, Section, Window


class Match(Section):
    """Conditions on an image."""

    modality: Annotated[tuple[Name, ...], Field(examples=[["CR", "DX"]])] = ()
    """Mammography (MG) is upscaled only where it is named here."""
    body_part: Annotated[tuple[Name, ...], Field(examples=[["CHEST*"]])] = ()
    """Body Part Examined."""
    view: Annotated[tuple[Name, ...], Field(examples=[["PA", "AP"]])] = ()
    """View Position."""
    station: Annotated[tuple[Name, ...], Field(examples=[["ER-?"]])] = ()
    """Station Name."""
    calling_ae: Annotated[tuple[AETitle, ...], Field(examples=[["CR_ROOM1"]])] = ()
    """Who sent it."""
    called_ae: Annotated[tuple[AETitle, ...], Field(examples=[["SRNODE_X2"]])] = ()
    """By what name it called us: the node answers to each title that stands here."""
    min_megapixels: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0
    """Of the source."""
    max_megapixels: Annotated[Annotated[float, Field(gt=0, allow_inf_nan=False)] | None, Field(examples=[30])] = None
    """Of the source."""

    @property
    def asks_for_size(self) -> bool:
        """Whether an image's size matters."""
        return self.min_megapixels > 0 or self.max_megapixels is not None


class Target(Section):
    """A peer that gets the results of a rule."""

    peer: Name
    """Its name in [peers] or [dicomweb]."""
    model: Name | None = None
    """Else the rule's."""
    scale: Scale | None = None
    """Else the rule's."""
    label: Label | None = None
    """Else the rule's."""


class Rule(Section):
    """What becomes of the images that match. The first rule that matches decides.

    Without any rule every radiograph is upscaled and kept in data_dir/out. All conditions that are given must hold;
    texts may have the wildcards * and ? and are compared without regard to case, AE titles are themselves.
    """

    name: Annotated[Name, Field(examples=["chest"])]
    """Shown in messages."""
    match: Match = Match()
    """All that is given must hold."""
    fallback: bool = False
    """true for one rule: it takes what no other does, wherever it stands."""
    send_to: Annotated[
        tuple[Annotated[Target, BeforeValidator(lambda to: {"peer": to} if isinstance(to, str) else to)], ...],
        Field(examples=[["PACS", {"peer": "CLOUD", "scale": 2}]]),
    ] = ()
    """Peers, each by its name or with what differs for it; none: data_dir/out."""
    model: Annotated[Name | None, Field(examples=["xr"])] = None
    """Else whichever is in service."""
    scale: Annotated[Scale | None, Field(examples=[4])] = None
    """Else model.scale."""
    label: Annotated[Label | None, Field(examples=["burned"])] = None
    """Else derive.label."""
    priority: Literal["stat", "routine", "backfill"] = "routine"
    """"stat" goes first, "backfill" last and only off-peak."""
    off_peak: Window = ""
    """When this rule's "backfill" is worked on; work.off_peak if it is empty."""
    unusual: Literal["skip", "send"] = "skip"
    """A result with far more added detail than in validation: "skip" it, or "send" it flagged."""
    contact: str = ""
    """Whom to ask about this rule."""
    comment: str = ""
    """Why there is this rule."""
