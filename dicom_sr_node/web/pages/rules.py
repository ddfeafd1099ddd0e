"""The rules in force, and what they would do to a dropped file."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, File, Form, Request, UploadFile
from fastapi.responses import HTMLResponse

from dicom_sr_node.domain.errors import NodeError
from dicom_sr_node.rules.routing import in_order
from dicom_sr_node.web.auth.access import (
    Context,
    OperatorActs,
    Viewer,
)
from dicom_sr_node.web.base import rule_tester
from dicom_sr_node.web.base.body_limit import BodyLimitRoute
from dicom_sr_node.web.base.rendering import render

pages = APIRouter(include_in_schema=False, route_class=BodyLimitRoute)


@pages.get("/rules")
def rules(request: Request, context: Context, person: Viewer) -> HTMLResponse:
    """The rules in force, in the order in which they are asked."""
    return render(request, "rules.html", person, rules=in_order(context.settings.rules), trial=None, form={})


@pages.post("/rules/try")
def try_rules(
    request: Request,
    context: Context,
    person: OperatorActs,
    file: Annotated[UploadFile, File()],
    calling_ae: Annotated[str, Form()] = "",
    called_ae: Annotated[str, Form()] = "",
) -> HTMLResponse:
    """What would become of this file."""
    message, trial = "", None
    try:
        trial = rule_tester.of_upload(context, file.file, calling_ae, called_ae)
    except NodeError as error:
        message = str(error)
    form = {"calling_ae": calling_ae, "called_ae": called_ae, "file": file.filename or ""}
    rules = in_order(context.settings.rules)
    return render(request, "rules.html", person, rules=rules, trial=trial, form=form, told=message, well=False)
