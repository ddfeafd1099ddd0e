"""The queue keeps its word: one holder at a time, stale holders fenced, nothing doubled."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import update
from support.node import store_of
from support.postgres import Postgres

from dicom_sr_node.config.node import DatabaseSettings, NodeSettings
from dicom_sr_node.config.settings import Settings
from dicom_sr_node.domain.errors import Fenced, NodeError, NotFound
from dicom_sr_node.domain.records import (
    Identity,
    Job,
    JobResult,
    JobState,
    Origin,
    OutputKind,
    Priority,
    Route,
    Stored,
    StoredOutput,
)
from dicom_sr_node.runtime.backoff import RetryPolicy
from dicom_sr_node.store import engine as database
from dicom_sr_node.store import tables
from dicom_sr_node.store.database import Store

MADE = {
    "kind": OutputKind.IMAGE,
    "sop_class_uid": "1.2",
    "sop_instance_uid": "2.25.1",
    "series_uid": "2.25.2",
    "model": "m",
    "scale": 4,
}


def done(
    store: Store, job: Job, *, file: str = "f", destinations: tuple[str, ...] = ("A",), **made: Any
) -> list[Stored]:
    """End a job with one object; returns the files that were not needed."""
    kept = StoredOutput({**MADE, **made}, Stored(name=file, sha256="s", bytes=1), destinations)
    return store.jobs.done(job, JobResult((kept,), {"score": 0.5}))


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return Settings(node=NodeSettings(data_dir=tmp_path), database=DatabaseSettings(url=database_url))


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    made = store_of(settings)
    database.upgrade(made.engine)
    yield made
    made.engine.dispose()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Store]:
    """Where only that one is meant."""
    made = store_of(Settings(node=NodeSettings(data_dir=tmp_path)))
    database.upgrade(made.engine)
    yield made
    made.engine.dispose()


def receive(store: Store, uid: str = "1.2.3", sha: str = "a", file: str | None = None) -> int | None:
    said = Identity(
        sop_class_uid="1.2", sop_instance_uid=uid, study_uid="1.4", series_uid="1.5", modality="DX", patient_id="P"
    )
    stored = Stored(name=file or f"{uid}-{sha}", sha256=sha, bytes=10)
    return store.instances.receive(
        said, stored, transfer_syntax_uid="1.2.840.10008.1.2.1", origin=Origin(calling_ae="MOD")
    )


def routes(**route: Any) -> Callable[[Origin], Route]:
    """Rules that say the same to everybody."""
    return lambda origin: Route(**route)


def claimed(store: Store, worker: str = "w", lease_s: float = 60) -> Job:
    job = store.jobs.claim(worker, lease_s)
    assert job is not None
    return job


def test_the_migrations_make_the_schema_of_the_tables(store: Store) -> None:
    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []


def test_upgrading_again_changes_nothing(store: Store) -> None:
    receive(store)
    database.upgrade(store.engine)
    assert store.jobs.counts()[JobState.READY] == 1


def test_sqlite_is_durable(sqlite: Store) -> None:
    with sqlite.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "delete"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 3  # EXTRA
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_a_damaged_database_is_refused_and_kept(tmp_path: Path, sqlite: Store) -> None:
    for number in range(200):
        receive(sqlite, uid=f"1.2.{number}")
    sqlite.engine.dispose()
    path = tmp_path / database.FILE
    content = bytearray(path.read_bytes())
    content[4096 : len(content)] = b"\x5a" * (len(content) - 4096)
    path.write_bytes(content)
    engine = database.connect(NodeSettings(data_dir=tmp_path), DatabaseSettings())
    with pytest.raises(NodeError, match="restore a backup"):
        database.upgrade(engine)
    engine.dispose()
    assert path.read_bytes() == bytes(content)


def test_a_database_that_must_exist_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="has `srnode serve` run"):
        store_of(Settings(node=NodeSettings(data_dir=tmp_path / "none")), must_exist=True)
    assert not (tmp_path / "none").exists()


def test_the_same_bytes_make_one_image_and_one_job(store: Store) -> None:
    first = receive(store)
    assert first is not None
    assert receive(store, file="another") is None
    assert len(store.jobs.ls((), 10)) == 1
    assert [event["what"] for event in store.instances.events(first)] == ["received", "received again"]


def test_the_same_uid_with_other_content_is_kept_beside_the_first_and_flagged(store: Store) -> None:
    first, second = receive(store, sha="a"), receive(store, sha="b")
    assert first != second
    assert second is not None
    assert len(store.jobs.ls((), 10)) == 2
    assert "uid conflict" in [event["what"] for event in store.instances.events(second)]


def test_jobs_are_claimed_oldest_first_and_once(store: Store) -> None:
    for number in range(3):
        receive(store, uid=f"1.2.{number}")
    held = [claimed(store).instance_id for _ in range(3)]
    assert held == sorted(held)
    assert store.jobs.claim("w", 60) is None


def test_a_job_whose_lease_ran_out_goes_to_another_and_the_first_is_fenced(store: Store) -> None:
    receive(store)
    stale = claimed(store, "first", lease_s=-1)
    fresh = claimed(store, "second")
    assert (fresh.id, fresh.attempt, fresh.failures, fresh.lost) == (stale.id, stale.attempt + 1, 0, 1)
    for write in (
        lambda: done(store, stale),
        lambda: store.jobs.fail(stale, "x", delay_s=0),
        lambda: store.jobs.end(stale, JobState.DEAD, "x"),
        lambda: store.jobs.renew(stale, 60),
        lambda: store.jobs.put_back(stale),
    ):
        with pytest.raises(Fenced):
            write()
    assert store.outputs.of_job(stale.id) == []
    assert store.jobs.get(fresh.id).worker == "second"


def test_done_commits_output_and_deliveries_together(store: Store) -> None:
    receive(store)
    job = claimed(store)
    assert done(store, job, destinations=("A", "B")) == []
    (output,) = store.outputs.of_job(job.id)
    assert [way.destination for way in store.deliveries.of_output(output.id)] == ["A", "B"]
    assert store.jobs.get(job.id).state == JobState.DONE


def test_a_second_output_of_the_same_uid_is_not_kept(store: Store) -> None:
    receive(store, uid="1.2.1")
    receive(store, uid="1.2.2")
    assert done(store, claimed(store), file="f") == []
    assert [stored.name for stored in done(store, claimed(store), file="g")] == ["g"]
    assert store.deliveries.counts() == {"A": {**dict.fromkeys(JobState, 0), JobState.READY: 1}}


def test_what_a_dead_process_held_is_released_by_its_successor_only(store: Store) -> None:
    receive(store, uid="1.2.1")
    receive(store, uid="1.2.2")
    mine, other = claimed(store, "host/work-0"), claimed(store, "host/work-1")
    assert store.jobs.release("host/work-0") == 1
    assert store.jobs.get(mine.id).state == JobState.READY
    assert store.jobs.get(other.id).state == JobState.RUNNING
    with pytest.raises(Fenced):
        store.jobs.renew(mine, 60)


def test_a_failed_try_waits_for_its_delay(store: Store) -> None:
    receive(store)
    job = claimed(store)
    store.jobs.fail(job, "because", delay_s=60)
    assert store.jobs.claim("w", 60) is None
    assert store.jobs.get(job.id).reason == "because"
    with store.engine.begin() as connection:
        connection.execute(update(tables.job).values(run_at=0))
    assert claimed(store).failures == 1


def test_dead_and_skipped_jobs_can_be_retried_and_others_not(store: Store) -> None:
    receive(store)
    job = claimed(store)
    with pytest.raises(NotFound, match="is running"):
        store.jobs.retry(job.id)
    store.jobs.end(job, JobState.DEAD, "broken")
    assert store.jobs.retry(job.id).state == JobState.READY
    again = claimed(store)
    assert (again.failures, again.attempt) == (0, job.attempt + 1)


def test_a_cancelled_job_fences_its_worker(store: Store) -> None:
    receive(store)
    job = claimed(store)
    assert store.jobs.cancel(job.id).state == JobState.SKIPPED
    with pytest.raises(Fenced):
        done(store, job)
    assert store.jobs.skip_reasons() == {"cancelled": 1}


def test_dead_deliveries_of_a_job_are_sent_again_by_hand(store: Store) -> None:
    receive(store)
    job = claimed(store)
    done(store, job)
    way = store.deliveries.claim("d", 60, "A")
    assert way is not None
    store.deliveries.dead(way, "refused")
    store.destinations.failed("A", "away", RetryPolicy(60, 60))
    assert store.deliveries.claim("d", 60, "A") is None
    assert store.deliveries.retry(job.id) == 1
    assert store.deliveries.claim("d", 60, "A") is not None


def test_a_delivery_can_be_claimed_for_one_destination(store: Store) -> None:
    receive(store)
    done(store, claimed(store), destinations=("A", "B"))
    way = store.deliveries.claim("d", 60, "B")
    assert way is not None
    assert way.destination == "B"
    assert store.deliveries.claim("d", 60, "B") is None


def _drain(settings: Settings, worker: str, seen: multiprocessing.Queue) -> None:  # type: ignore[type-arg]
    store = store_of(settings)
    while (job := store.jobs.claim(worker, 60)) is not None:
        done(store, job, file=f"f{job.id}", sop_instance_uid=f"2.25.{job.id}")
        seen.put(job.id)
    seen.put(None)


def test_many_workers_share_the_queue_without_doing_anything_twice(settings: Settings, store: Store) -> None:
    for number in range(60):
        receive(store, uid=f"1.2.{number}")
    context = multiprocessing.get_context("spawn")
    seen = context.Queue()
    workers = [context.Process(target=_drain, args=(settings, f"w{n}", seen)) for n in range(4)]
    for worker in workers:
        worker.start()
    done, ended = list[int](), 0
    while ended < len(workers):
        answer = seen.get(timeout=60)
        ended, done = (ended + 1, done) if answer is None else (ended, [*done, answer])
    for worker in workers:
        worker.join()
    assert sorted(done) == list(range(1, 61))
    assert store.jobs.counts()[JobState.DONE] == 60


def test_readers_hold_no_lock(settings: Settings, store: Store) -> None:
    other = store_of(settings)
    with database.reading(store.engine) as connection:
        connection.exec_driver_sql("SELECT count(*) FROM job").scalar()
        assert receive(other) is not None
    other.engine.dispose()


def test_a_destination_that_fails_is_left_alone_and_the_others_are_not(store: Store) -> None:
    for number in range(2):
        receive(store, uid=f"1.2.{number}")
        more = {"file": f"f{number}", "sop_instance_uid": f"2.25.{number}"}
        done(store, claimed(store), destinations=("A", "B"), **more)
    store.destinations.failed("A", "no answer", RetryPolicy(60, 60))
    assert store.deliveries.claim("d", 60, "A") is None
    assert store.deliveries.claim("d", 60, "B") is not None


def test_a_url_names_another_database(tmp_path: Path) -> None:
    settings = Settings(database=DatabaseSettings(url=f"sqlite:///{tmp_path / 'other.db'}"))
    engine = database.connect(settings.node, settings.database)
    database.upgrade(engine)
    engine.dispose()
    assert (tmp_path / "other.db").is_file()


def test_a_network_file_system_is_no_place_for_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert database.filesystem_of(Path("/proc")) == "proc"
    monkeypatch.setattr(database, "filesystem_of", lambda path: "nfs4")
    with pytest.raises(NodeError, match="network file system"):
        store_of(Settings(node=NodeSettings(data_dir=tmp_path)))


def test_urgent_jobs_are_claimed_first(store: Store) -> None:
    for priority in reversed(Priority):
        said = Identity(
            sop_class_uid="1.2",
            sop_instance_uid=f"1.2.{priority}",
            study_uid="1.4",
            series_uid="1.5",
            modality="DX",
            patient_id="P",
        )
        stored = Stored(name=f"f{priority}", sha256="a", bytes=1)
        store.instances.receive(
            said, stored, transfer_syntax_uid="1", origin=Origin(calling_ae="M"), route=routes(priority=priority)
        )
    assert [claimed(store).priority for _ in Priority] == list(Priority)


def test_a_job_for_later_is_not_claimed_now(store: Store) -> None:
    said = Identity(
        sop_class_uid="1.2", sop_instance_uid="1.3", study_uid="1.4", series_uid="1.5", modality="DX", patient_id="P"
    )
    stored = Stored(name="f", sha256="a", bytes=1)
    store.instances.receive(
        said, stored, transfer_syntax_uid="1", origin=Origin(calling_ae="M"), route=routes(delay_s=3600)
    )
    assert store.jobs.claim("w", 60) is None


def test_words_with_a_nul_are_stored(store: Store) -> None:
    """PostgreSQL has no NUL in a text."""
    receive(store)
    store.jobs.fail(claimed(store), "cut\0off", delay_s=0)
    assert store.jobs.get(1).reason == "cutoff"


def test_a_commit_is_synchronous_however_the_server_is_set_up(postgres: Postgres, tmp_path: Path) -> None:
    """And a transaction of a machine that has vanished does not keep its locks."""
    url = postgres.url()
    name = url.rpartition("/")[2]
    for setting in ("synchronous_commit = off", "idle_in_transaction_session_timeout = 0"):
        assert postgres.sql("postgres", f"ALTER DATABASE {name} SET {setting}").returncode == 0
    made = store_of(Settings(node=NodeSettings(data_dir=tmp_path), database=DatabaseSettings(url=url)))
    with database.reading(made.engine) as connection:
        found = {
            name: connection.exec_driver_sql(f"SHOW {name}").scalar()
            for name in ("synchronous_commit", "idle_in_transaction_session_timeout", "tcp_keepalives_idle")
        }
    assert found == {
        "synchronous_commit": "on",
        "idle_in_transaction_session_timeout": "1min",
        "tcp_keepalives_idle": "30",
    }
    assert database.unsafe_server(made.engine) == ""
    made.engine.dispose()
