"""The command line: `srnode ...`. Exit codes: 0 done, 1 failed, 2 usage, 3 configuration refused."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer
from sqlalchemy.exc import SQLAlchemyError

from dicom_sr_node import __version__
from dicom_sr_node.commands import lazy
from dicom_sr_node.commands.lazy import Lazy
from dicom_sr_node.commands.options import FAILED, REFUSED, Config, errors
from dicom_sr_node.domain.errors import ConfigRefused, NodeError
from dicom_sr_node.runtime import log

COMMANDS = {
    "serve": Lazy("serve", "Receive, work and deliver, as one supervised service."),
    "reload": Lazy("reload", "Let the running node take up its changed configuration."),
    "receive": Lazy("receive", "Only the receiver: answers C-ECHO and stores what is sent by C-STORE."),
    "work": Lazy("work", "Only one worker: takes images from the queue and upscales them."),
    "deliver": Lazy("deliver", "Only the delivery: sends results to their destinations."),
    "web": Lazy("web", "Only the dashboard and the REST interface."),
    "demo": Lazy("demo", "The whole journey on this machine: a node, a synthetic radiograph, a destination."),
    "upscale": Lazy("upscale", "Upscale files without a service."),
    "verify": Lazy(
        "verify", "Hold a derived image against its source: pixels, geometry, identity, provenance; each PASS or FAIL."
    ),
    "status": Lazy("status", "What is where: images by state, deliveries by destination, the processes."),
    "echo": Lazy("echo", "C-ECHO: does a peer of the configuration answer us?"),
    "send": Lazy("send", "C-STORE files to a peer of the configuration, as they are."),
    "pull": Lazy("pull", "Let an archive send what it already has (C-FIND, C-MOVE) to the running node."),
    "conformance": Lazy(
        "conformance", "The tables of the DICOM conformance statement, as Markdown, made from the code."
    ),
    "doctor": Lazy("doctor", "Try disk, database, clock, ports, model and each peer, and say what to change."),
    "selftest": Lazy("selftest", "A phantom through the running node and back, verified; it goes to no peer."),
    "fsck": Lazy("fsck", "Is everything there that was promised? Database and spool against each other."),
    "backup": Lazy(
        "backup", "Copy the database and all images and results, consistent with each other, while the node works on."
    ),
    "restore": Lazy("restore", "Fill a new node from a backup; its data directory and database must be empty."),
    "init": Lazy("init", "Ask a few questions, try the peers, and write a commented configuration."),
    "jobs": Lazy("jobs", "The queue: one job for each image that was received."),
    "config": Lazy("config", "The configuration."),
    "models": Lazy("models", "The weights that are installed."),
    "db": Lazy("db", "The database's schema."),
    "users": Lazy("users", "Who may look into the dashboard."),
}
cli = typer.Typer(cls=lazy.group(COMMANDS), no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)


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
