"""`srnode serve`: the whole node."""

from __future__ import annotations

import typer

from dicom_sr_node.app.serve import serve as serve_all
from dicom_sr_node.commands.options import Config, config_path, load
from dicom_sr_node.commands.service import become_service, reloads

cli = typer.Typer()


@cli.command()
def serve(context: typer.Context, config: Config = None) -> None:
    """Receive, work and deliver, as one supervised service. Ctrl-C or SIGTERM ends it in good order."""
    settings = load(context, config)
    path = config_path(context, config)
    stop = become_service()
    raise typer.Exit(serve_all(settings, path.resolve() if path else None, stop, reloads("serve", context, config)))
