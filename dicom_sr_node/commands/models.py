"""`srnode models`: the weights."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from dicom_sr_node.actions.actor import Actor
from dicom_sr_node.actions.models import DeploymentAction, ModelActions
from dicom_sr_node.commands.options import (
    FAILED,
    Config,
    Device,
    Json,
    audit_of,
    console,
    errors,
    load,
    note,
    open_store,
    say,
    settings_typed,
    show,
    table,
    who,
)
from dicom_sr_node.domain.errors import NotFound
from dicom_sr_node.runtime import locks
from dicom_sr_node.store.deployments import Deployment
from dicom_sr_node.tools.physics_qa import examine, prove
from dicom_sr_node.web.base import model_metrics
from dicom_sr_node.work.registry import AUTOMATIC, registry_for
from model import checkpoint

cli = typer.Typer(help="The weights that are installed.", no_args_is_help=True)

OFF = "off"  # instead of a name: end it


def weights_typed(context: typer.Context, incomplete: str) -> list[str]:
    """For the completion of shells."""
    settings = settings_typed(context)
    return (
        [name for name in registry_for(settings.node, settings.model).names() if name.startswith(incomplete)]
        if settings
        else []
    )


@cli.command("ls")
def models_ls(context: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """The weights there are, which of them `auto` means here, and which are in service."""
    settings = load(context, config)
    registry = registry_for(settings.node, settings.model)
    automatic = registry.resolve(AUTOMATIC, "auto")
    try:
        serving = open_store(settings, must_exist=True).deployments.now()
    except NotFound:  # no node has run here yet
        serving = Deployment()
    active = registry.resolve(serving.active or settings.model.name, settings.model.device)
    cards = registry.cards()
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


@cli.command("verify")
def models_verify(
    context: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(help="Names or .safetensors files; all installed ones if none is given.")
    ] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Are the weights those that their cards describe? Exit code 1 if any is not."""
    settings = load(context, config)
    registry = registry_for(settings.node, settings.model)
    rows = []
    for name in names or registry.names():
        try:
            _, card = checkpoint.load(registry.find(name))
            rows.append({"name": name, "ok": True, "found": f"sha256 {card.sha256}"})
        except (checkpoint.CheckpointError, NotFound) as error:
            rows.append({"name": name, "ok": False, "found": str(error)})

    def human() -> None:
        for row in rows:
            say(f"{'PASS' if row['ok'] else 'FAIL'}  {row['name']}  {row['found']}")

    show(as_json, rows, human)
    if not rows or not all(row["ok"] for row in rows):
        raise typer.Exit(FAILED)


@cli.command("qa")
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
    settings = load(context, config)
    registry = registry_for(settings.node, settings.model, unproven=True)
    upscaler = registry.load(name, device.value, settings.model.precision)
    examination = examine(upscaler, data, errors.print)
    if write:
        prove(registry.find(registry.resolve(name, device.value)), examination)

    def human() -> None:
        for scale in examination.scales:
            shown = table(f"x{scale.scale}", "test", "known", "measured", "limit")
            for row in scale.rows:
                limit = f"{row.sign} {row.limit:.3g}"
                shown.add_row("PASS" if row.passed else "FAIL", row.test, row.known, f"{row.value:.4f}", limit)
            console.print(shown)
        say(f"{upscaler.card.identity} {'passed' if examination.passed else 'misses limits of'} the physics suite")

    show(as_json, examination.as_dict(), human)
    if not examination.passed:
        raise typer.Exit(FAILED)


@cli.command("install")
def models_install(
    context: typer.Context,
    weights: Annotated[Path, typer.Argument(help="A .safetensors file with its card (.json) beside it.")],
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Take weights into the node, for all its machines. They are not active yet."""
    settings = load(context, config)
    locks.ensure_ours(settings.node.data_dir)
    card = registry_for(settings.node, settings.model).install(weights)
    with contextlib.suppress(NotFound):  # no node has run here yet: there is no trail
        note(settings, open_store(settings, must_exist=True), f"installed weights {card.identity}")
    message = f"{card.identity} is installed; next: srnode models shadow, canary or activate {card.name}"
    show(as_json, card.as_dict(), lambda: say(message))


@cli.command("activate")
def models_activate(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Weights; `auto`.", autocompletion=weights_typed)],
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Work with these weights from the next image on, also after a restart. `rollback` goes back."""
    _act(context, config, as_json, DeploymentAction.ACTIVATE, name)


@cli.command("rollback")
def models_rollback(context: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """Work with the weights that were active before."""
    _act(context, config, as_json, DeploymentAction.ROLLBACK)


@cli.command("shadow")
def models_shadow(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Weights; `off` to end it.", autocompletion=weights_typed)],
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Run weights beside the active ones: their results stay here and are compared."""
    action = DeploymentAction.END_SHADOW if name == OFF else DeploymentAction.SHADOW
    _act(context, config, as_json, action, name)


@cli.command("canary")
def models_canary(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Weights; `off` to end it.", autocompletion=weights_typed)],
    percent: Annotated[float, typer.Option(min=0.1, max=100, help="Of all series.")] = 10,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Let weights make the results of a share of all series."""
    action = DeploymentAction.END_CANARY if name == OFF else DeploymentAction.CANARY
    _act(context, config, as_json, action, name, percent / 100)


@cli.command("compare")
def models_compare(context: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """What each weights made lately, and the shadow beside what was sent."""
    service = open_store(load(context, config), must_exist=True).deployments
    metrics = {"made": model_metrics.made(service.qualities()), "shadows": model_metrics.shadows(service.comparisons())}

    def human() -> None:
        for row in metrics["made"]:
            say(
                f"{row['model']}: {row['images']} images, added detail {100 * (row['added_share'] or 0):.2f} % (median)"
            )
        for row in metrics["shadows"]:
            say(
                f"shadow {row['model']} beside {row['against']}: {row['images']} images, apart {row['apart_rms']:g} "
                f"stored values (median of root mean squares), at most {row['apart_max']:g}"
            )
        if not metrics["made"]:
            say("nothing was made yet")

    show(as_json, metrics, human)


def _act(
    context: typer.Context,
    config: Path | None,
    as_json: bool,
    action: DeploymentAction,
    name: str = "",
    share: float = 0.0,
) -> None:
    settings = load(context, config)
    store = open_store(settings, must_exist=True)
    registry = registry_for(settings.node, settings.model)
    outcome = ModelActions(store, registry, audit_of(settings)).act(action, Actor(who()), name, share)
    show(as_json, {"done": outcome.sentence}, lambda: say(outcome.sentence))
