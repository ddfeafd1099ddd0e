"""Forms of a result for several destinations, and weights in service: install, shadow, canary, activate, rollback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.archive import Archive
from support.command import srnode
from support.images import image, save
from support.node import Node
from support.tools import free_port, started, wait_until

from dicom_sr_node.domain.errors import NodeError, NotFound
from dicom_sr_node.domain.records import JobState, OutputKind
from dicom_sr_node.store.deployments import Deployment
from dicom_sr_node.work.registry import ModelRegistry
from model import checkpoint

OTHER = "cxr-trial"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """PACS gets x4 with a label; RESEARCH x2 without; who calls SRNODE_X2 gets x2."""
    rules = """
[[rules]]
name = "x2"
match.called_ae = ["SRNODE_X2"]
scale = 2
[[rules]]
name = "rest"
fallback = true
send_to = ["PACS", { peer = "RESEARCH", scale = 2, label = "none" }]
"""
    with started(Archive()) as pacs, started(Archive()) as research:
        peers = "".join(
            f'[peers.{name}]\nae_title = "{name}"\nhost = "127.0.0.1"\nport = {archive.port}\n'
            for name, archive in (("PACS", pacs), ("RESEARCH", research))
        )
        node = Node.configure(tmp_path, more=peers + rules, port=free_port())
        with started(node):
            node.archives = (pacs, research)  # type: ignore[attr-defined]
            yield node


def weights(folder: Path) -> Path:
    """The lite ones under another name, a little changed, as if the physics suite had been run on them."""
    generators, card = checkpoint.load(checkpoint.find("xr-lite"))
    for generator in generators.values():
        for parameter in generator.parameters():
            parameter.data *= 0.999
    values = {
        key: value for key, value in vars(card).items() if key not in ("sha256", "family", "architecture", "scales")
    }
    target = folder / f"{OTHER}.safetensors"
    changed = checkpoint.save(target, generators, **{**values, "name": OTHER, "version": "9"})
    told = {**changed.as_dict(), "physics": {**card.physics, "sha256": changed.sha256}}
    target.with_suffix(".json").write_text(json.dumps(told))
    return target


def models(node: Node, *arguments: str | Path) -> str:
    return srnode("models", *arguments, "-c", node.config).stdout


def test_each_destination_gets_its_form_and_a_called_title_its_rule(node: Node, tmp_path: Path) -> None:
    pacs, research = node.archives  # type: ignore[attr-defined]
    node.storescu(save(image(64), tmp_path / "a.dcm"))
    node.wait(jobs=1)
    assert [(ds.Rows, "Label: burned" in ds.DerivationDescription) for ds in pacs.received] == [(256, True)]
    assert [(ds.Rows, "Label: none" in ds.DerivationDescription) for ds in research.received] == [(128, True)]
    for archive in (pacs, research):
        got = save(archive.received[0], tmp_path / "got.dcm")
        assert json.loads(srnode("verify", "--json", got, tmp_path / "a.dcm").stdout)["passed"] is True

    from support.tools import need, run

    other = save(image(64, number=2), tmp_path / "b.dcm")
    port = str(node.settings.scp.port)
    run(need("storescu", "dcmtk"), "-R", "-aec", "SRNODE_X2", "127.0.0.1", port, other)
    node.wait(jobs=2)
    made = node.store.outputs.of_job(2)
    assert [output.scale for output in made] == [2]
    assert [way.destination for way in node.store.deliveries.of_output(made[0].id)] == ["folder"]
    assert run(need("storescu", "dcmtk"), "-aec", "NOBODY", "127.0.0.1", port, other, check=False).returncode != 0
    node.fsck()


def test_weights_go_from_shadow_to_active_and_back_without_a_restart(node: Node, tmp_path: Path) -> None:
    pacs, _ = node.archives  # type: ignore[attr-defined]
    models(node, "install", weights(tmp_path))
    assert OTHER in models(node, "ls")
    models(node, "shadow", OTHER)
    send(node, tmp_path, 1)
    shadow = [output for output in node.store.outputs.of_job(1) if output.kind == OutputKind.SHADOW]
    assert len(shadow) == 1
    assert node.store.deliveries.of_output(shadow[0].id) == []
    assert len(pacs.received) == 1
    compared = json.loads(models(node, "compare", "--json"))["shadows"][0]
    assert compared["model"].startswith(OTHER)
    assert compared["images"] == 1
    assert compared["apart_rms"] > 0

    models(node, "activate", OTHER)
    assert node.store.deployments.now().shadow == ""
    send(node, tmp_path, 2)
    assert OTHER in pacs.received[1].DerivationDescription
    models(node, "rollback")
    again = srnode("models", "rollback", "-c", node.config, check=False)
    assert (again.returncode, "nothing to go back to" in again.stderr) == (1, True)
    send(node, tmp_path, 3)
    assert "xr-lite" in pacs.received[2].DerivationDescription
    models(node, "canary", OTHER, "--percent", "100")
    send(node, tmp_path, 4)
    assert OTHER in pacs.received[3].DerivationDescription
    node.store.deployments.end("canary")
    node.fsck()


def send(node: Node, folder: Path, number: int) -> None:
    node.storescu(save(image(64, number=number), folder / f"{number}.dcm"))
    jobs = node.wait(jobs=number)
    wait_until(lambda: {job["state"] for job in jobs} == {JobState.DONE}, 10, "the result")


def test_a_name_is_never_given_twice_and_damaged_weights_are_not_taken(tmp_path: Path) -> None:
    shelf, path = ModelRegistry(tmp_path / "spool"), weights(tmp_path)
    assert shelf.install(path) == shelf.install(path)
    assert OTHER in shelf.names()
    card = path.with_suffix(".json")
    values = json.loads(card.read_text())
    (tmp_path / "bad.safetensors").write_bytes(path.read_bytes()[:-1])
    (tmp_path / "bad.json").write_text(card.read_text())
    with pytest.raises(NodeError, match="is not what its card describes"):
        shelf.install(tmp_path / "bad.safetensors")
    for name, told in (("xr", "there are other weights named 'xr'"), ("../x", "which no file can have")):
        card.write_text(json.dumps({**values, "name": name}))
        with pytest.raises(NodeError, match=told):
            shelf.install(path)
    with pytest.raises(NotFound, match="no weights 'none'; known names: cxr-trial"):
        shelf.find("none")


def test_a_series_is_made_by_one_of_the_two_and_the_share_is_kept() -> None:
    serving = Deployment(active="a", canary="c", canary_share=0.25)
    chosen = [serving.model_for(f"1.2.{number}") for number in range(4000)]
    assert 0.2 < chosen.count("c") / len(chosen) < 0.3
    assert chosen == [serving.model_for(f"1.2.{number}") for number in range(4000)]


def test_the_self_test_goes_through_the_node_and_to_no_peer(node: Node) -> None:
    told = json.loads(srnode("selftest", "--json", "-c", node.config).stdout)
    assert told["passed"] is True
    assert told["acknowledged_s"] <= told["worked_s"] <= told["delivered_s"]
    assert [len(archive.received) for archive in node.archives] == [0, 0]  # type: ignore[attr-defined]
    assert list((node.settings.node.data_dir / "out").rglob("*.dcm")) == []
    assert node.store.jobs.counts()[JobState.DONE] == 1


def test_the_self_test_says_what_does_not_run(tmp_path: Path) -> None:
    node = Node.configure(tmp_path)
    node.start("receive")
    try:
        failed = srnode("selftest", "--patience-s", "2", "-c", node.config, check=False)
        assert failed.returncode == 1
        assert "does a `work` role run?" in failed.stderr
    finally:
        node.stop()
