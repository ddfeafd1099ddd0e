"""The REST interface: what its document promises holds for any request; the same powers as the dashboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from pydicom import dcmread
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from support.archive import Archive
from support.images import image, save
from support.node import Node
from support.tools import free_port, started

from dicom_sr_node.store.accounts import AccountRole, PassKind

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def token(node: Node, role: AccountRole) -> str:
    name = f"program-{role.name.lower()}"
    if name not in [account["name"] for account in node.store.accounts.ls()]:
        node.store.accounts.add(name, role, "no hash: nobody logs in by it")
    return node.store.accounts.let_in(name, role, PassKind.TOKEN, note="test")


def client(node: Node, role: AccountRole | None) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token(node, role)}"} if role else {}
    return httpx.Client(base_url=node.settings.web.url, headers=headers, timeout=60)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """With one image that was delivered, and one that was skipped."""
    folder = tmp_path_factory.mktemp("api")
    with started(Archive()) as archive:
        node = Node.configure(folder, peers={"ARCHIVE": archive.port})
        node.change("enabled = false", f"port = {free_port()}")
        with started(node):
            node.storescu(save(image(64), folder / "a.dcm"))
            ours = image(64, number=2)
            ours.Manufacturer = "dicom_sr_node"
            node.storescu(save(ours, folder / "b.dcm"))
            node.wait(jobs=2)
            yield node


def test_the_journey_of_an_image_is_told_and_its_files_are_given(node: Node, tmp_path: Path) -> None:
    with client(node, AccountRole.OPERATOR) as program:
        found = program.get("/api/v1/images", params={"fate": "delivered"}).json()["images"]
        assert [image["modality"] for image in found] == ["DX"]
        whole = program.get(f"/api/v1/images/{found[0]['id']}").json()
        assert [event["what"] for event in whole["journal"]] == ["received", "worked on", "done", "delivered"]
        assert whole["possible"] == ["send-again", "hold"]
        output = whole["outputs"][0]
        assert output["deliveries"][0]["destination"] == "ARCHIVE"
        place = f"/api/v1/images/{found[0]['id']}"
        verified = program.get(f"{place}/outputs/{output['id']}/verify").json()
        assert verified["passed"] is True
        (tmp_path / "r.dcm").write_bytes(program.get(f"{place}/outputs/{output['id']}/file").content)
        assert str(dcmread(tmp_path / "r.dcm").SOPInstanceUID) == output["sop_instance_uid"]
        skipped = program.get("/api/v1/images", params={"fate": "skipped"}).json()["images"][0]
        assert "already upscaled" in skipped["reason"]
        assert program.get(f"/api/v1/images/{skipped['id']}/outputs/{output['id']}/file").status_code == 404


def test_images_come_in_pages(node: Node) -> None:
    with client(node, AccountRole.VIEWER) as program:
        first = program.get("/api/v1/images", params={"limit": 1}).json()
        second = program.get("/api/v1/images", params={"limit": 1, "before": first["next"]}).json()
        assert [first["images"][0]["id"], second["images"][0]["id"]] == [2, 1]
        assert second["next"] is None


def test_an_act_is_done_once_and_journaled_under_its_name(node: Node) -> None:
    with client(node, AccountRole.OPERATOR) as program:
        assert program.post("/api/v1/images/2/retry").json() == {"told": "It waits for a worker again."}
        node.wait(jobs=2)
        assert program.post("/api/v1/images/1/retry").status_code == 404
        events = program.get("/api/v1/images/2").json()["journal"]
        assert ("retried", "by program-operator") in [(event["what"], event["text"]) for event in events]


def test_each_role_has_its_powers_and_no_more(node: Node) -> None:
    wanted = {
        ("GET", "/api/v1/images"): 200,
        ("GET", "/api/v1/models"): 200,
        ("POST", "/api/v1/images/2/hold"): 403,
        ("GET", "/api/v1/images/1/file"): 403,
        ("POST", "/api/v1/models"): 403,
        ("GET", "/api/v1/accounts"): 403,
    }
    with client(node, AccountRole.VIEWER) as program:
        for (method, path), status in wanted.items():
            answer = program.request(method, path, json={"act": "rollback"})
            assert answer.status_code == status, path
            if status == 403:
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.json()["detail"].startswith("viewer is not enough")
    with client(node, None) as nobody:
        assert nobody.get("/api/v1/images").status_code == 401
        assert nobody.get("/api/v1/images", headers={"Authorization": "Bearer x"}).status_code == 401


def test_a_token_ends_with_its_account_and_keeps_no_more_than_its_role(node: Node) -> None:
    accounts = node.store.accounts
    accounts.add("gone", AccountRole.OPERATOR, "no hash")
    secret = accounts.let_in("gone", AccountRole.OPERATOR, PassKind.TOKEN, note="test")
    accounts.change("gone", role=AccountRole.VIEWER)
    person = accounts.who(secret, PassKind.TOKEN)
    assert person is not None
    assert person.role is AccountRole.VIEWER
    accounts.remove("gone")
    assert accounts.who(secret, PassKind.TOKEN) is None


def test_monitoring_sees_whether_it_is_ready_and_no_patient(node: Node) -> None:
    with client(node, None) as nobody:
        assert nobody.get("/health/live").json() == {"status": "alive"}
        assert nobody.get("/health/ready").json() == {"status": "ready", "troubles": []}
        numbers = nobody.get("/metrics").text
        assert 'srnode_images{fate="delivered"} 1.0' in numbers
        assert 'srnode_deliveries{destination="ARCHIVE",state="done"} 1.0' in numbers
        for secret in (str(image(64).PatientID), str(image(64).PatientName), str(image(64).SOPInstanceUID)):
            assert secret not in numbers


def test_what_is_too_large_or_from_elsewhere_is_refused(node: Node) -> None:
    with client(node, None) as nobody:
        assert nobody.post("/api/v1/rules/try", files={"file": bytes(10_000_000)}).status_code == 401
    with client(node, AccountRole.ADMINISTRATOR) as program:
        assert program.post("/api/v1/models", content=b"x" * 100_000).status_code == 413
        assert program.get("/api/v1/status", headers={"Host": "evil.example"}).status_code == 421
        assert program.post("/api/v1/accounts", json={"name": "x", "role": "king", "password": "1"}).status_code == 409


def test_no_request_gets_an_answer_that_the_document_does_not_have(node: Node) -> None:
    """Property-based, against the node's own document, with every power; last, for it acts on the images, too."""
    url, secret = node.settings.web.url, token(node, AccountRole.ADMINISTRATOR)
    schema = schemathesis.openapi.from_dict(httpx.get(f"{url}/api/v1/openapi.json").json())
    schema.config.update(base_url=url)
    operations = [result.ok() for result in schema.get_all_operations()]  # type: ignore[union-attr]
    assert len(operations) > 20
    for operation in operations:

        @settings(max_examples=6, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def holds(case: Any) -> None:
            case.call_and_validate(headers={"Authorization": f"Bearer {secret}"}, checks=CHECKS)

        holds()
