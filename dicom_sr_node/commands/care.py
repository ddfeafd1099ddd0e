"""`srnode doctor`, `fsck`, `backup`, `restore` and `db`: looking after a node."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from dicom_sr_node.commands.options import FAILED, Config, Json, errors, load, note, say, show
from dicom_sr_node.settings import Settings

cli = typer.Typer()
db_cli = typer.Typer(help="The database's schema.", no_args_is_help=True)


@cli.command()
def doctor(context: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """Try disk, database, clock, ports, model and each peer, and say what to change. Exit code 1 if anything fails."""
    from dicom_sr_node import app
    from dicom_sr_node import doctor as examination
    from dicom_sr_node.spool import Spool

    settings = load(context, config)
    checks = []
    for check in examination.examine(settings, app.store(settings), Spool(settings.node.spool, "doctor")):
        checks.append(check)
        if not as_json:
            say(f"{check.verdict}  {check.name}: {check.found}{f'  -> {check.remedy}' if check.remedy else ''}")
    show(as_json, [vars(check) for check in checks], lambda: None)
    if any(check.verdict == examination.Verdict.FAIL for check in checks):
        raise typer.Exit(FAILED)


@cli.command()
def selftest(
    context: typer.Context,
    patience_s: Annotated[float, typer.Option("--patience-s", min=1, help="Give up after so long.")] = 120,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """A phantom through the running node and back, verified; it goes to no peer. Exit code 1 if anything fails."""
    from dicom_sr_node import app
    from dicom_sr_node import selftest as test
    from dicom_sr_node.spool import Spool

    settings = load(context, config)
    store = app.store(settings, must_exist=True)
    done = test.run(settings, store, Spool(settings.node.spool, "selftest"), patience_s)
    failed = [check for check in done.checks if not check.passed]
    value = {**vars(done), "passed": not failed, "checks": [vars(check) for check in done.checks]}

    def human() -> None:
        say(f"acknowledged after {done.acknowledged_s:.2f} s")
        say(f"upscaled     after {done.worked_s:.2f} s by {done.model}")
        say(f"delivered    after {done.delivered_s:.2f} s")
        for check in failed:
            say(f"FAIL  {check.name}: {check.found}")
        say(f"verified: {len(done.checks) - len(failed)} of {len(done.checks)} checks pass")

    show(as_json, value, human)
    if failed:
        raise typer.Exit(FAILED)


@cli.command()
def fsck(
    context: typer.Context,
    quick: Annotated[bool, typer.Option("--quick", help="Compare lengths only, and read no file.")] = False,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Is everything there that was promised? Database and spool against each other. Exit code 1 if not."""
    from dicom_sr_node import app
    from dicom_sr_node import fsck as checker
    from dicom_sr_node.spool import Spool
    from dicom_sr_node.store.invariants import Invariants

    settings = load(context, config)
    invariants = Invariants(app.store(settings, must_exist=True).engine)
    with Progress(console=errors, transient=True, disable=as_json or not errors.is_terminal) as bar:
        task = bar.add_task("reading", total=1.0)
        found = checker.check(
            Spool(settings.node.spool, "fsck"),
            invariants,
            quick=quick,
            progress=lambda fraction: bar.update(task, completed=fraction),
        )

    def human() -> None:
        for line in found.violations:
            say(f"BROKEN  {line}")
        for line in found.notes:
            say(f"note    {line}")
        verdict = f"{len(found.violations)} promises broken" if found.violations else "clean"
        say(f"{found.images} images, {found.results} results: {verdict}")

    show(as_json, {"clean": not found.violations, **vars(found)}, human)
    if found.violations:
        raise typer.Exit(FAILED)


@cli.command()
def backup(
    context: typer.Context,
    folder: Annotated[
        Path, typer.Argument(help="A new folder, or that of an earlier backup, which is brought up to date.")
    ],
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Copy the database and all images and results, consistent with each other, while the node works on."""
    from dicom_sr_node import app
    from dicom_sr_node import backup as copying
    from dicom_sr_node.spool import Spool

    settings = load(context, config)
    _private()
    store = app.store(settings, must_exist=True)
    done = copying.backup(store, Spool(settings.node.spool, "backup"), folder)
    note(settings, store, f"copied everything to {folder}")
    _tell(as_json, done, f"{done.rows} rows and {done.files} files are in {folder}")


@cli.command()
def restore(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="What `srnode backup` made.")],
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Fill a new node from a backup; its data directory and database must be empty. SQLite and PostgreSQL both do."""
    from dicom_sr_node import app, locks
    from dicom_sr_node import backup as copying
    from dicom_sr_node.spool import Spool

    settings = load(context, config)
    _private()
    locks.take(settings.node.data_dir, "serve")
    done = copying.restore(app.store(settings), Spool(settings.node.spool, "restore"), folder)
    _tell(as_json, done, f"{done.rows} rows and {done.files} files are restored; now try `srnode fsck`")


def _tell(as_json: bool, done: object, told: str) -> None:
    missing: list[str] = vars(done)["missing"]

    def human() -> None:
        for line in missing:
            say(f"MISSING  {line}")
        say(told)

    show(as_json, vars(done), human)
    if missing:
        raise typer.Exit(FAILED)


@db_cli.command("upgrade")
def db_upgrade(context: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """Bring the schema to this version. `srnode serve` does it by itself; several machines may do it at once."""
    from dicom_sr_node import app
    from dicom_sr_node.store import engine as database

    settings: Settings = load(context, config)
    _private()
    engine = app.store(settings).engine
    before = database.revision(engine)[0]
    database.upgrade(engine)
    after = database.revision(engine)[0]
    told = f"the schema is {after}" + (f", it was {before or 'none'}" if before != after else " already")
    show(as_json, {"before": before, "after": after}, lambda: say(told))


def _private() -> None:
    """What is made now belongs to this user alone."""
    import os

    os.umask(0o077)
