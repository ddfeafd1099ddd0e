"""Certificates that end or do not fit are said before they matter, and nobody sees a secret."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.archive import Archive
from support.certificates import Authority, section
from support.command import srnode
from support.images import image, save
from support.node import Node
from support.tools import free_port, started, wait_until

from dicom_sr_node.config.loading import load
from dicom_sr_node.domain.diagnosis import Verdict
from dicom_sr_node.domain.errors import ConfigRefused
from dicom_sr_node.monitor import doctor, health
from dicom_sr_node.network import certificates


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    authority = Authority(tmp_path_factory.mktemp("ca"))
    for name, days in (("node", 9), ("other", 9), ("late", -1), ("long", 400)):
        authority.sign(name, days=days)
    return authority


def check(config: Path) -> tuple[int, str]:
    """Exit code and words of `config check`."""
    done = srnode("config", "check", "-c", config, check=False)
    return done.returncode, done.stdout + done.stderr


def with_files(ca: Authority, folder: Path, certificate: str, key: str) -> Path:
    files = f'certificate = "{ca.folder / certificate}.crt"\nprivate_key = "{ca.folder / key}.key"\n'
    config = folder / "node.toml"
    config.write_text(f'[tls]\n{files}authorities = "{ca.path("crt")}"\n', encoding="utf-8")
    return config


@pytest.mark.parametrize(
    ("certificate", "key", "code", "words"),
    [
        ("node", "node", 0, "warning: tls.certificate: "),
        ("node", "other", 3, "other.key is not the key of"),
        ("late", "late", 3, "late.crt has expired on"),
        ("gone", "node", 3, "gone.crt cannot be used: No such file"),
        ("node", "gone", 3, "gone.key cannot be used: No such file"),
    ],
)
def test_a_check_looks_at_dates_and_at_the_key(
    tmp_path: Path, ca: Authority, certificate: str, key: str, code: int, words: str
) -> None:
    config = with_files(ca, tmp_path, certificate, key)
    found, said = check(config)
    assert (found, words in said) == (code, True), said
    verdicts = {one.verdict for one in doctor._certificates(load(config, {}))}
    assert verdicts == ({Verdict.FAIL} if code else {Verdict.WARN, Verdict.PASS}) | (verdicts & {Verdict.WARN})


def test_a_certificate_is_a_problem_thirty_days_before_its_end(tmp_path: Path, ca: Authority) -> None:
    settings = load(with_files(ca, tmp_path, "long", "long"), {})
    own = [problem for problem in certificates.examine(settings, datetime.now(UTC)) if problem.key == "tls.certificate"]
    assert own == []
    later = datetime.now(UTC) + timedelta(days=380)
    (soon,) = (one for one in certificates.examine(settings, later) if one.key == "tls.certificate")
    assert not soon.is_fatal
    (problem,) = (one for one in health._certificates(settings) if one.subject == "tls.authorities")  # nine days left
    assert (problem.kind, "ends on" in problem.text) == ("certificate", True)


def test_a_reload_with_a_key_that_does_not_fit_fails_and_the_old_one_stays(
    tmp_path: Path, ca: Authority, archive: Archive
) -> None:
    node = Node.configure(tmp_path, peers={"ARCHIVE": archive.port}, more=section(ca, free_port()))
    with started(node):
        good = (ca.folder / "node.key").read_text()
        (ca.folder / "node.key").write_text((ca.folder / "other.key").read_text())
        done = srnode("reload", "-c", node.config, check=False)
        assert (done.returncode, "node.key is not the key of" in done.stderr) == (1, True)
        node.storescu(save(image(16), tmp_path / "a.dcm"))
        (ca.folder / "node.key").write_text(good)
        srnode("reload", "-c", node.config)
        wait_until(lambda: node.log.read_text().count(" listening ") > 2, 30, "the receiver's change")


SECRETS = """
[database]
url = "postgresql+psycopg://srnode:pass@word/1@127.0.0.1:5432/srnode"
[alarms]
webhook = "https://hooks.example/services/T000/B000/secret"
"""


def test_what_is_shown_holds_no_password(tmp_path: Path) -> None:
    config = tmp_path / "node.toml"
    config.write_text(SECRETS, encoding="utf-8")
    for more in ((), ("--json",)):
        shown = srnode("config", "show", *more, "-c", config).stdout
        assert "***@127.0.0.1:5432/srnode" in shown
        assert "https://hooks.example/***" in shown
        assert "pass@word" not in shown
        assert "secret" not in shown


@pytest.mark.parametrize(
    "text",
    [
        '[database]\nurl = "mysql://srnode:hunter2@127.0.0.1/srnode"\n',
        '[dicomweb.CLOUD]\nurl = "https://me:hunter2@archive.example/dicom-web"\n',
        '[alarms]\nwebhook = "ftp://hooks.example/hunter2"\n',
        '[alarms]\nwebhook = ["https://hooks.example/hunter2"]\n',
        '[dicomweb]\nCLOUD = "https://me:hunter2@archive.example"\n',
    ],
)
def test_a_refusal_quotes_no_password(tmp_path: Path, text: str) -> None:
    config = tmp_path / "node.toml"
    config.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigRefused) as caught:
        load(config, {})
    assert "hunter2" not in str(caught.value)


def twins(folder: Path) -> str:
    peer = 'ae_title = "SAME"\nhost = "127.0.0.1"\n'
    return f"[peers.ONE]\n{peer}[peers.TWO]\n{peer}"


def token_in_the_clear(folder: Path) -> str:
    (folder / "token").write_text("t")
    (folder / "token").chmod(0o600)
    return f'[dicomweb.CLOUD]\nurl = "http://archive.example/"\ntoken_file = "{folder / "token"}"\n'


def open_token(folder: Path) -> str:
    text = token_in_the_clear(folder).replace("http:", "https:")
    (folder / "token").chmod(0o644)
    return text


def open_configuration(folder: Path) -> str:
    return SECRETS


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (twins, "peers ONE, TWO: all are called SAME"),
        (token_in_the_clear, "dicomweb.CLOUD.url: the token goes over the network in the clear"),
        (open_token, "token holds a secret that everybody on this machine may read"),
        (open_configuration, "node.toml holds a secret"),
    ],
)
def test_what_is_allowed_but_hardly_meant_is_a_warning(tmp_path: Path, make: Callable[[Path], str], words: str) -> None:
    config = tmp_path / "node.toml"
    config.write_text(make(tmp_path), encoding="utf-8")
    config.chmod(0o644)
    code, said = check(config)
    assert code == 0, said
    assert words in said
    config.chmod(0o600)
    (warnings,) = (json.loads(srnode("config", "check", "--json", "-c", config).stdout)["warnings"],)
    assert len(warnings) == (0 if make is open_configuration else 1)


def test_the_folder_of_locks_is_the_node_s_alone(tmp_path: Path, archive: Archive) -> None:
    node = Node.configure(tmp_path, peers={"ARCHIVE": archive.port})
    with started(node):
        srnode("fsck", "-c", node.config)
        spool = node.settings.node.spool
        assert {path.stat().st_mode & 0o777 for path in (spool / "locks", spool.parent / "locks")} == {0o700}


def test_the_dashboard_s_certificate_is_looked_at_too(tmp_path: Path, ca: Authority) -> None:
    config = tmp_path / "node.toml"
    files = f'certificate = "{ca.folder / "node"}.crt"\nprivate_key = "{ca.folder / "other"}.key"\n'
    config.write_text(f"[web]\n{files}", encoding="utf-8")
    assert check(config)[0] == 3
    (one,) = (one for one in doctor._certificates(load(config, {})) if one.verdict == Verdict.FAIL)
    assert one.found.startswith("web.private_key: ")


def test_an_authority_that_is_over_among_others_is_no_mistake(tmp_path: Path, ca: Authority) -> None:
    bundle = tmp_path / "authorities.crt"
    bundle.write_text((ca.folder / "late.crt").read_text() + (ca.folder / "long.crt").read_text())
    config = with_files(ca, tmp_path, "long", "long")
    config.write_text(config.read_text().replace(str(ca.path("crt")), str(bundle)))
    assert list(certificates.examine(load(config, {}), datetime.now(UTC))) == []
    bundle.write_text((ca.folder / "late.crt").read_text())
    (problem,) = certificates.examine(load(config, {}), datetime.now(UTC))
    assert (problem.key, problem.is_fatal) == ("tls.authorities", True)
