"""The command line: `srnode ...`. Exit codes: 0 done, 1 failed, 2 usage, 3 configuration refused."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer
from sqlalchemy.exc import SQLAlchemyError

from dicom_sr_node import __version__, log
from dicom_sr_node.commands import care, files, init, network, people, queue, service, setup
from dicom_sr_node.commands.options import FAILED, REFUSED, Config, errors
from dicom_sr_node.errors import ConfigRefused, NodeError

cli = typer.Typer(no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)
for part in (service.cli, files.cli, queue.cli, network.cli, setup.cli, care.cli, init.cli):
    cli.add_typer(part)
cli.add_typer(queue.jobs_cli, name="jobs")
cli.add_typer(setup.config_cli, name="config")
cli.add_typer(setup.models_cli, name="models")
cli.add_typer(care.db_cli, name="db")
cli.add_typer(people.users_cli, name="users")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"srnode {__version__}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")]


@cli.callback()
def root(context: typer.Context, config: Config = None, version: Version = False) -> None:
    """Receives radiographs, makes them sharper, and sends the results on as new series. Not for diagnosis."""
    context.obj = config


def main() -> None:
    """The console script: a refused configuration or a known failure is one message, not a traceback."""
    log.start()
    try:
        cli()
    except NodeError as error:
        errors.print(f"srnode: {error}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(REFUSED if isinstance(error, ConfigRefused) else FAILED)
    except (SQLAlchemyError, PermissionError, FileNotFoundError) as error:
        remedy = ": run it as the node's user (sudo -u ...)" if isinstance(error, PermissionError) else ""
        errors.print(f"srnode: {type(error).__name__}: {error}{remedy}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(FAILED)
    except BrokenPipeError:  # `srnode ... | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    except Exception as error:  # its words may quote a patient: no traceback, and no message of others
        log.get("uncaught").critical("ended by an error", extra={"error": log.kind_of(error)})
        sys.exit(FAILED)
