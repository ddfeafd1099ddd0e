"""Storage commitment, asked and answered: nothing counts as done before the peer has said so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest
from pydicom import Dataset
from pynetdicom import AE, build_role, evt
from sqlalchemy import select, update
from support.archive import Archive
from support.images import image
from support.node import Node, Outbox
from support.orthanc import Orthanc
from support.tools import free_port, started, wait_until

from dicom_sr_node.commitment import wire
from dicom_sr_node.commitment.policy import CommitmentPolicy
from dicom_sr_node.commitment.scu import CommitmentReporter
from dicom_sr_node.config.destinations import Peer
from dicom_sr_node.deliver.destinations.table import local_entity
from dicom_sr_node.domain.records import Reference
from dicom_sr_node.network import addresses
from dicom_sr_node.store import tables

NEVER = Event()


@pytest.fixture
def node(tmp_path: Path, database_url: str) -> Iterator[Node]:
    """A receiver that takes reports; the lanes run in this process."""
    peers = {"ARCHIVE": free_port()}
    node = Node.configure(tmp_path, peers=peers, database_url=database_url)
    node.change('ae_title = "ARCHIVE"', 'ae_title = "ARCHIVE"\ncommitment = "required"')
    with started_receiver(node):
        yield node


class started_receiver:  # noqa: N801 - reads as a verb
    def __init__(self, node: Node) -> None:
        self.node = node

    def __enter__(self) -> Node:
        self.node.start("receive")
        return self.node

    def __exit__(self, *_: object) -> None:
        self.node.stop()


@pytest.fixture
def outbox(node: Node) -> Iterator[Outbox]:
    outbox = Outbox.of(node.settings)
    yield outbox
    outbox.close()


def archive(node: Node, commits: str) -> Archive:
    return Archive(node.settings.peers["ARCHIVE"].port, commits=commits, reverse_port=node.settings.scp.port)


@pytest.mark.parametrize("way", ["same", "reverse"])
def test_done_only_when_the_report_says_so(node: Node, outbox: Outbox, way: str) -> None:
    with started(archive(node, way)) as pacs:
        results = [outbox.put(number, "ARCHIVE") for number in (1, 2)]
        assert outbox.worker("ARCHIVE").step(NEVER)
        wait_until(lambda: outbox.states("ARCHIVE") == {"done": 2}, 20, "the report")
        (request,) = pacs.asked  # one for both
        uids = [item.ReferencedSOPInstanceUID for item in request.ReferencedSOPSequence]
        assert sorted(uids) == sorted(str(result.SOPInstanceUID) for result in results)
    assert [event["what"] for event in outbox.store.instances.events(1)][-2:] == ["sent", "delivered"]


def test_a_peer_that_never_reports_is_asked_again_under_a_new_uid_for_as_long_as_results_wait(
    node: Node, outbox: Outbox
) -> None:
    """The report may be lost, as when nobody listened: that alone makes nothing dead before its time."""
    outbox.put(1, "ARCHIVE")
    with started(archive(node, "never")) as pacs:
        lane = outbox.worker("ARCHIVE")
        for _ in range(5):
            lane.step(NEVER)
            outbox.due()
        assert len({ds.TransactionUID for ds in pacs.asked}) == 5
        assert outbox.states("ARCHIVE") == {"sent": 1}
        with outbox.store.engine.begin() as connection:
            month = outbox.settings.retention.undelivered_days * 86_400
            connection.execute(update(tables.output).values(created_at=tables.output.c.created_at - month - 1))
        lane.step(NEVER)
    assert outbox.states("ARCHIVE") == {"dead": 1}
    (way,) = outbox.store.deliveries.of_output(1)
    assert "no commitment after 5 requests" in way.reason
    assert len(pacs.uids) == 1  # and never sent twice


def test_a_peer_that_is_away_when_it_is_to_commit_kills_nothing(node: Node, outbox: Outbox) -> None:
    outbox.put(1, "ARCHIVE")
    lane = outbox.worker("ARCHIVE")
    with started(archive(node, "same")) as pacs:
        pacs.commits_after(4)  # it breaks each association over which it is asked
        for _ in range(4):
            lane.step(NEVER)
            outbox.due()
        assert outbox.states("ARCHIVE") == {"sent": 1}
    pauses = []
    for _ in range(6):
        lane.step(NEVER)
        assert not lane.step(NEVER)  # the destination rests, and nothing asks it
        pauses.append(outbox.store.destinations.ls()["ARCHIVE"]["again_in_s"])
        outbox.due()
    assert outbox.states("ARCHIVE") == {"sent": 1}
    assert pauses[-1] > pauses[0]
    with started(archive(node, "same")):
        lane.step(NEVER)
        wait_until(lambda: outbox.states("ARCHIVE") == {"done": 1}, 20, "the report")


def test_where_commitment_is_optional_silence_ends_after_three_requests(node: Node, outbox: Outbox) -> None:
    node.change('commitment = "required"', 'commitment = "optional"')
    outbox.settings = node.settings
    outbox.put(1, "ARCHIVE")
    with started(archive(node, "never")) as pacs:
        lane = outbox.worker("ARCHIVE")
        for _ in range(4):
            lane.step(NEVER)
            outbox.due()
    assert len(pacs.asked) == 3
    assert outbox.states("ARCHIVE") == {"done": 1}


def test_what_the_peer_lost_is_sent_again_as_the_same_bytes(node: Node, outbox: Outbox) -> None:
    with started(archive(node, "same")) as pacs:
        kept, lost = outbox.put(1, "ARCHIVE"), outbox.put(2, "ARCHIVE")
        pacs.lost = [str(lost.SOPInstanceUID)]
        lane = outbox.worker("ARCHIVE")
        lane.step(NEVER)
        wait_until(lambda: outbox.states("ARCHIVE") == {"done": 1, "ready": 1}, 20, "the bad news")
        lane.step(NEVER)
        wait_until(lambda: outbox.states("ARCHIVE") == {"done": 2}, 20, "the good news")
    assert pacs.uids == [kept.SOPInstanceUID, lost.SOPInstanceUID, lost.SOPInstanceUID]
    assert pacs.received[1] == pacs.received[2]


def test_the_request_is_committed_before_it_is_sent(node: Node, outbox: Outbox) -> None:
    """A report may come when the process that asked is long dead."""
    outbox.put(1, "ARCHIVE")
    with started(archive(node, "never")) as pacs:
        outbox.worker("ARCHIVE").step(NEVER)
        (request,) = pacs.asked
        pacs.commits = "reverse"
        said = wire.CommitmentAction.read(request)
        assert pacs.report(wire.CommitmentReport(said.transaction_uid, said.references, {})) == 0x0000
        assert outbox.states("ARCHIVE") == {"done": 1}
        assert pacs.report(wire.CommitmentReport(said.transaction_uid, said.references, {})) == 0x0000  # again: ignored


def test_a_report_of_somebody_else_or_about_nothing_changes_nothing(node: Node, outbox: Outbox) -> None:
    outbox.put(1, "ARCHIVE")
    with started(archive(node, "never")) as pacs:
        outbox.worker("ARCHIVE").step(NEVER)
        said = wire.CommitmentAction.read(pacs.asked[0])
        pacs.commits = "reverse"
        forged = wire.CommitmentReport(said.transaction_uid, said.references, {})
        assert pacs.report(forged, title="SOMEBODY") == 0x0110
        assert pacs.report(wire.CommitmentReport("1.2.3.4", said.references, {})) == 0x0110
    assert outbox.states("ARCHIVE") == {"sent": 1}


def test_required_where_the_peer_does_not_offer_it_ends_dead_and_optional_done(node: Node, outbox: Outbox) -> None:
    outbox.put(1, "ARCHIVE")
    with started(archive(node, "")):
        lane = outbox.worker("ARCHIVE")
        for _ in range(4):
            lane.step(NEVER)
            outbox.due()
        assert outbox.states("ARCHIVE") == {"dead": 1}
        node.change('commitment = "required"', 'commitment = "optional"')
        outbox.settings = node.settings
        outbox.put(2, "ARCHIVE")
        outbox.worker("ARCHIVE").step(NEVER)
        assert outbox.states("ARCHIVE") == {"dead": 1, "done": 1}


def test_orthanc_commits_over_a_reverse_association(tmp_path: Path) -> None:
    port = free_port()
    modalities = {"NODE": ["SRNODE", "127.0.0.1", port]}
    with started(Orthanc(tmp_path / "orthanc", DicomModalities=modalities)) as orthanc:
        node = Node.configure(tmp_path, peers={"ORTHANC": orthanc.port}, port=port)
        node.change('ae_title = "ORTHANC"', 'ae_title = "ORTHANC"\ncommitment = "required"')
        with started_receiver(node):
            outbox = Outbox.of(node.settings)
            outbox.put(1, "ORTHANC")
            outbox.worker("ORTHANC").step(NEVER)
            wait_until(lambda: outbox.states("ORTHANC") == {"done": 1}, 30, "Orthanc's report")
            outbox.close()


def test_an_orthanc_that_does_not_know_us_is_done_at_once_where_commitment_is_optional(tmp_path: Path) -> None:
    with started(Orthanc(tmp_path / "orthanc")) as orthanc:
        outbox = Outbox.of(Node.configure(tmp_path, peers={"ORTHANC": orthanc.port}).settings)
        outbox.put(1, "ORTHANC")
        outbox.worker("ORTHANC").step(NEVER)
        assert outbox.states("ORTHANC") == {"done": 1}
        assert "does it know us?" in outbox.store.deliveries.of_output(1)[0].reason
        outbox.close()


class Modality:
    """Stores an image, and asks the node to commit to it."""

    def __init__(self, node: Node) -> None:
        self.node, self.reports = node, list[Dataset]()
        self.port = node.settings.peers["ARCHIVE"].port
        self._server = None

    def on_report(self, event: evt.Event) -> tuple[int, None]:
        self.reports.append(event.event_information)
        return 0x0000, None

    def listen(self) -> None:
        ae = AE(ae_title="ARCHIVE")
        ae.add_supported_context(wire.SOP_CLASS, scu_role=True, scp_role=True)
        handlers = [(evt.EVT_N_EVENT_REPORT, self.on_report)]
        self._server = ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)

    def stop(self) -> None:
        if self._server:
            self._server.shutdown()

    def ask(self, uid: str, *references: Reference, hold_s: float = 0.0) -> int:
        ae = AE(ae_title="ARCHIVE")
        ae.add_requested_context(wire.SOP_CLASS)
        handlers = [(evt.EVT_N_EVENT_REPORT, self.on_report)]
        assoc = ae.associate(
            "127.0.0.1",
            self.node.settings.scp.port,
            ae_title="SRNODE",
            evt_handlers=handlers,
            ext_neg=[build_role(wire.SOP_CLASS, scu_role=True)],
        )
        ds = wire.CommitmentAction(uid, references).data_set()
        answer, _ = assoc.send_n_action(ds, wire.REQUEST, wire.SOP_CLASS, wire.SOP_INSTANCE)
        if hold_s:
            wait_until(lambda: self.reports, hold_s, "the report on the same association")
        assoc.release()
        return int(answer.Status)


@pytest.fixture
def modality(node: Node) -> Iterator[Modality]:
    modality = Modality(node)
    yield modality
    modality.stop()


def stored(node: Node, number: int, tmp_path: Path) -> Reference:
    ds = image(32, number=number)
    path = tmp_path / f"{number}.dcm"
    ds.save_as(path, enforce_file_format=True)
    node.storescu(path)
    return Reference(sop_class_uid=str(ds.SOPClassUID), sop_instance_uid=str(ds.SOPInstanceUID))


def test_a_modality_gets_our_report_on_its_own_association(node: Node, modality: Modality, tmp_path: Path) -> None:
    have = stored(node, 1, tmp_path)
    never = Reference(sop_class_uid=have.sop_class_uid, sop_instance_uid="1.2.3.4")
    other = Reference(sop_class_uid="1.2.840.10008.5.1.4.1.1.2", sop_instance_uid=have.sop_instance_uid)
    assert modality.ask("1.2.7.1", have, never, other, hold_s=10) == 0x0000
    (report,) = modality.reports
    said = wire.CommitmentReport.read(report)
    assert said.committed == [have]
    assert said.failed == {never: wire.NO_SUCH_INSTANCE, other: wire.CLASS_CONFLICT}


def test_a_modality_that_has_left_gets_it_in_reverse(
    node: Node, modality: Modality, outbox: Outbox, tmp_path: Path
) -> None:
    have = stored(node, 1, tmp_path)
    assert modality.ask("1.2.7.2", have) == 0x0000
    policy = CommitmentPolicy(outbox.store.inbound_requests, outbox.store.instances, outbox.spool)
    fares = outbox.store.destinations
    reporter = CommitmentReporter(local_entity(node.settings), node.settings.peers, policy, fares, "d", 3600)
    outbox.due()
    assert reporter.report()  # nobody listens yet: later again
    assert modality.reports == []
    modality.listen()
    outbox.due()
    assert reporter.report()
    assert wire.CommitmentReport.read(modality.reports[0]).committed == [have]
    outbox.due()
    assert not reporter.report()


def test_an_image_whose_file_is_gone_is_not_committed_to(node: Node, modality: Modality, tmp_path: Path) -> None:
    have = stored(node, 1, tmp_path)
    (file,) = (node.settings.node.spool / "in").iterdir()
    file.unlink()
    modality.ask("1.2.7.3", have, hold_s=10)
    assert wire.CommitmentReport.read(modality.reports[0]).failed == {have: wire.NO_SUCH_INSTANCE}


def test_garbage_is_refused(node: Node, modality: Modality) -> None:
    assert modality.ask("not a uid") in (0x0115, 0x0110)
    assert modality.ask("1.2.7.4") == 0x0115  # about nothing
    with node.store.engine.connect() as connection:
        assert connection.execute(select(tables.asked)).all() == []


def test_a_report_of_somebody_whom_nobody_asked_names_who_called(node: Node) -> None:
    stranger = Archive(commits="reverse", reverse_port=node.settings.scp.port)
    reference = Reference(sop_class_uid="1.2.840.10008.5.1.4.1.1.1", sop_instance_uid="1.2.3")
    assert stranger.report(wire.CommitmentReport("1.2.9", [reference], {}), title="STRANGER") == 0x0110
    assert "STRANGER" in node.log.read_text()
    rows = wait_until(lambda: node.store.refused.ls(), 10, "the caller among the refused")
    assert (rows[0]["calling_ae"], rows[0]["address"]) == ("STRANGER", "127.0.0.1")
    assert "nobody asked it" in str(rows[0]["why"])


def test_of_two_peers_with_one_title_the_one_that_asked_gets_the_report() -> None:
    peers = {
        "ONE": Peer(ae_title="SAME", host="127.0.0.1"),
        "TWO": Peer(ae_title="SAME", host="192.0.2.1", addresses=("127.0.5.0/24",)),
        "OTHER": Peer(ae_title="OTHER", host="192.0.2.2"),
    }
    assert addresses.peer_of("SAME", "127.0.0.1", peers) == "ONE"
    assert addresses.peer_of("SAME", "127.0.5.7", peers) == "TWO"
    assert addresses.peer_of("SAME", "198.51.100.1", peers) is None
    assert addresses.peer_of("OTHER", "198.51.100.1", peers) == "OTHER"
