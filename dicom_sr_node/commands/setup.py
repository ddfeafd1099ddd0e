"""`srnode config`, `srnode models` and `srnode conformance`: what this node is set up with, and what it promises."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Annotated

import typer

from dicom_sr_node import reference
from dicom_sr_node.commands.options import (
    FAILED,
    Config,
    Device,
    Json,
    console,
    errors,
    load,
    note,
    say,
    show,
    table,
    weights_typed,
)
from dicom_sr_node.errors import ConfigRefused, NotFound

OFF = "off"  # instead of a name: end it
cli = typer.Typer()
config_cli = typer.Typer(help="The configuration.", no_args_is_help=True)
models_cli = typer.Typer(help="The weights that are installed.", no_args_is_help=True)


@cli.command()
def conformance(
    update: Annotated[
        Path | None, typer.Option(help="Make the tables of this document anew instead of printing them.")
    ] = None,
) -> None:
    """The tables of the DICOM conformance statement, as Markdown, made from the code."""
    from dicom_sr_node import conformance as statement

    if update is None:
        print(statement.render())
        return
    update.write_text(statement.filled(update.read_text(encoding="utf-8")), encoding="utf-8")
    say(f"{update}: its tables are those of this version")


@config_cli.command("check")
def config_check(context: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """Is the configuration right? Names every mistake with its key and line; exit code 3 if there is one."""
    from dicom_sr_node.models import AUTOMATIC, Shelf
    from model import checkpoint

    settings = load(context, config)
    shelf = Shelf(settings.node.spool)
    named = {"model.name": settings.model.name}
    for rule in settings.rules:
        named |= {
            f"rule {rule.name!r}, model": name for name in (rule.model, *(to.model for to in rule.send_to)) if name
        }
    for key, name in named.items():
        try:
            if name != AUTOMATIC:
                checkpoint.read_card(shelf.find(name))
        except (checkpoint.CheckpointError, NotFound) as error:
            raise ConfigRefused(f"{key}: {error}") from error
    show(as_json, {"ok": True}, lambda: print("the configuration is right"))


@config_cli.command("show")
def config_show(context: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """The effective configuration: defaults, file and environment together."""
    values = load(context, config).model_dump(mode="json")

    def human() -> None:
        for section, content in values.items():
            say(f"{section} = {json.dumps(content, ensure_ascii=False)}")

    show(as_json, values, human)


@config_cli.command("example")
def config_example() -> None:
    """A configuration with every key, its default and what it means."""
    print(reference.example(), end="")


@config_cli.command("reference")
def config_reference() -> None:
    """Every key with its values, as Markdown; made from the code."""
    print(reference.page(), end="")


@models_cli.command("ls")
def models_ls(context: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """The weights there are, which of them `auto` means here, and which are in service."""
    from dicom_sr_node import app
    from dicom_sr_node.models import AUTOMATIC, Shelf
    from dicom_sr_node.store.service import InService

    settings = load(context, config)
    shelf = Shelf(settings.node.spool)
    automatic = shelf.resolve(AUTOMATIC, "auto")
    try:
        serving = app.store(settings, must_exist=True).service.now()
    except NotFound:  # no node has run here yet
        serving = InService()
    active = shelf.resolve(serving.active or settings.model.name, settings.model.device)
    cards = shelf.cards()
    roles = {active: "active", serving.shadow: "shadow", serving.canary: f"canary {100 * serving.canary_share:g} %"}
    rows = [
        {
            **card.as_dict(),
            "auto": card.name == automatic,
            "service": roles.get(card.name, ""),
            "unproven": card.unproven,
        }
        for card in cards
    ]

    def human() -> None:
        rows_shown = table("name", "version", "sha256", "scales", "physics", "auto", "in service")
        for card, row in zip(cards, rows, strict=True):
            auto = "yes" if row["auto"] else ""
            scales = ", ".join(f"x{scale}" for scale in card.scales)
            proof = "unproven" if card.unproven else "passed"
            rows_shown.add_row(card.name, card.version, card.sha256[:12], scales, proof, auto, str(row["service"]))
        console.print(rows_shown if cards else "no weights are installed")

    show(as_json, rows, human)


@models_cli.command("verify")
def models_verify(
    context: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(help="Names or .safetensors files; all installed ones if none is given.")
    ] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Are the weights those that their cards describe? Exit code 1 if any is not."""
    from dicom_sr_node.models import Shelf
    from model import checkpoint

    shelf = Shelf(load(context, config).node.spool)
    rows = []
    for name in names or shelf.names():
        try:
            _, card = checkpoint.load(shelf.find(name))
            rows.append({"name": name, "ok": True, "found": f"sha256 {card.sha256}"})
        except (checkpoint.CheckpointError, NotFound) as error:
            rows.append({"name": name, "ok": False, "found": str(error)})

    def human() -> None:
        for row in rows:
            say(f"{'PASS' if row['ok'] else 'FAIL'}  {row['name']}  {row['found']}")

    show(as_json, rows, human)
    if not rows or not all(row["ok"] for row in rows):
        raise typer.Exit(FAILED)


@models_cli.command("qa")
def models_qa(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Weights, or a .safetensors file.", autocompletion=weights_typed)],
    data: Annotated[
        Path | None,
        typer.Option(help="A folder of radiographs for the ring correlation; without it, a chest drawn by formula."),
    ] = None,
    write: Annotated[bool, typer.Option(help="Put the figures into the card: proof that the node asks for.")] = False,
    device: Annotated[Device, typer.Option(help="Where to compute.")] = Device.AUTO,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """The physics suite: what the weights do to phantoms whose truth is known. Exit code 1 if a limit is missed."""
    from dicom_sr_node.models import Shelf, examine, prove

    settings = load(context, config)
    shelf = Shelf(settings.node.spool, unproven=True)
    upscaler = shelf.load(name, device.value, settings.model.precision)
    found = examine(upscaler, data, errors.print)
    if write:
        prove(shelf.find(shelf.resolve(name, device.value)), found)

    def human() -> None:
        for scale in found.scales:
            shown = table(f"x{scale.scale}", "test", "known", "measured", "limit")
            for row in scale.rows:
                limit = f"{row.sign} {row.limit:.3g}"
                shown.add_row("PASS" if row.passed else "FAIL", row.test, row.known, f"{row.value:.4f}", limit)
            console.print(shown)
        say(f"{upscaler.card.identity} {'passed' if found.passed else 'misses limits of'} the physics suite")

    show(as_json, found.as_dict(), human)
    if not found.passed:
        raise typer.Exit(FAILED)


@models_cli.command("install")
def models_install(
    context: typer.Context,
    weights: Annotated[Path, typer.Argument(help="A .safetensors file with its card (.json) beside it.")],
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Take weights into the node, for all its machines. They are not active yet."""
    from dicom_sr_node import app, locks
    from dicom_sr_node.models import Shelf

    settings = load(context, config)
    locks.ensure_ours(settings.node.data_dir)
    card = Shelf(settings.node.spool).install(weights)
    with contextlib.suppress(NotFound):  # no node has run here yet: there is no trail
        note(settings, app.store(settings, must_exist=True), f"installed weights {card.identity}")
    told = f"{card.identity} is installed; next: srnode models shadow, canary or activate {card.name}"
    show(as_json, card.as_dict(), lambda: say(told))


@models_cli.command("activate")
def models_activate(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Weights; `auto`.", autocompletion=weights_typed)],
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Work with these weights from the next image on, also after a restart. `rollback` goes back."""
    _change(context, config, as_json, "activate", name)


@models_cli.command("rollback")
def models_rollback(context: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """Work with the weights that were active before."""
    _change(context, config, as_json, "rollback")


@models_cli.command("shadow")
def models_shadow(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Weights; `off` to end it.", autocompletion=weights_typed)],
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Run weights beside the active ones: their results stay here and are compared."""
    _change(context, config, as_json, "end-shadow" if name == OFF else "shadow", name)


@models_cli.command("canary")
def models_canary(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Weights; `off` to end it.", autocompletion=weights_typed)],
    percent: Annotated[float, typer.Option(min=0.1, max=100, help="Of all series.")] = 10,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Let weights make the results of a share of all series."""
    _change(context, config, as_json, "end-canary" if name == OFF else "canary", name, percent / 100)


@models_cli.command("compare")
def models_compare(context: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """What each weights made lately, and the shadow beside what was sent."""
    from dicom_sr_node import app
    from dicom_sr_node.web import catalogue

    service = app.store(load(context, config), must_exist=True).service
    found = {"made": catalogue.made(service.qualities()), "shadows": catalogue.shadows(service.comparisons())}

    def human() -> None:
        for row in found["made"]:
            say(
                f"{row['model']}: {row['images']} images, added detail {100 * (row['added_share'] or 0):.2f} % (median)"
            )
        for row in found["shadows"]:
            say(
                f"shadow {row['model']} beside {row['against']}: {row['images']} images, apart {row['apart_rms']:g} "
                f"stored values (median of root mean squares), at most {row['apart_max']:g}"
            )
        if not found["made"]:
            say("nothing was made yet")

    show(as_json, found, human)


def _change(
    context: typer.Context, config: Path | None, as_json: bool, act: str, name: str = "", share: float = 0.0
) -> None:
    from dicom_sr_node import app
    from dicom_sr_node.in_service import ModelAct, change
    from dicom_sr_node.models import Shelf

    settings = load(context, config)
    store = app.store(settings, must_exist=True)
    shelf = Shelf(settings.node.spool, unproven=settings.model.unproven)
    told = change(store.service, shelf, ModelAct(act), name, share)
    note(settings, store, told)
    show(as_json, {"done": told}, lambda: say(told))
