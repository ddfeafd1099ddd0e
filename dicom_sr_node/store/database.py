"""All tables of one database, opened once for a process."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine

from dicom_sr_node.config.node import DatabaseSettings, NodeSettings
from dicom_sr_node.runtime import locks
from dicom_sr_node.store import engine as engines
from dicom_sr_node.store.accounts import Accounts
from dicom_sr_node.store.alarms import AlarmLog
from dicom_sr_node.store.audit_queue import AuditQueue
from dicom_sr_node.store.commitments import Commitments, InboundRequests
from dicom_sr_node.store.deployments import ModelDeployments
from dicom_sr_node.store.destinations import Destinations
from dicom_sr_node.store.instances import Instances
from dicom_sr_node.store.jobs import Jobs
from dicom_sr_node.store.outputs import Deliveries, Outputs
from dicom_sr_node.store.processes import Processes
from dicom_sr_node.store.refused import Refused
from dicom_sr_node.store.search import Search


@dataclass(frozen=True)
class Store:
    """The tables of one database."""

    engine: Engine
    instances: Instances
    jobs: Jobs
    outputs: Outputs
    deliveries: Deliveries
    destinations: Destinations
    commitments: Commitments
    inbound_requests: InboundRequests
    refused: Refused
    audit: AuditQueue
    processes: Processes
    deployments: ModelDeployments
    accounts: Accounts
    search: Search
    alarms: AlarmLog


def open_store(node: NodeSettings, database: DatabaseSettings, *, must_exist: bool = False) -> Store:
    """Connect. Raises NotFound if the database `must_exist` and does not, NodeError for somebody else's data."""
    locks.ensure_ours(node.data_dir)
    engine = engines.connect(node, database, must_exist=must_exist)
    return Store(
        engine,
        Instances(engine),
        Jobs(engine),
        Outputs(engine),
        Deliveries(engine),
        Destinations(engine),
        Commitments(engine),
        InboundRequests(engine),
        Refused(engine),
        AuditQueue(engine),
        Processes(engine),
        ModelDeployments(engine),
        Accounts(engine),
        Search(engine),
        AlarmLog(engine),
    )
