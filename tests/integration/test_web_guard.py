"""The role `web` against people who mean it harm: nobody shuts others out, nothing is taken without bounds."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine, func, select
from support.images import image, save
from support.node import Node, Outbox
from support.tools import free_port, wait_until

from dicom_sr_node.actions.accounts import setup_link
from dicom_sr_node.store import tables
from dicom_sr_node.store.accounts import AccountRole, PassKind
from dicom_sr_node.web import connections, server
from dicom_sr_node.web.auth import access
from dicom_sr_node.web.base.context import LOGINS, AppContext
from dicom_sr_node.web.viewer import lightbox
from dicom_sr_node.web.viewer.lightbox import Lightbox

PASSWORD = "a longer password"  # noqa: S105 - of the tests


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppContext]:
    """Served on loopback by a thread of this process."""
    monkeypatch.setattr("os.nice", lambda by: 0)
    node = Node.configure(tmp_path)
    node.change("enabled = false", f"port = {free_port()}")
    outbox = Outbox.of(node.settings)
    outbox.put(1, "folder")
    desk, stop = AppContext(node.settings, outbox.store, outbox.spool, Lightbox()), threading.Event()
    thread = threading.Thread(target=server.serve, args=(desk, stop))
    thread.start()
    with clients_closed():
        wait_until(lambda: _has_offered_a_link(outbox.store.engine), 20, "it listens, and has made its own link")
        yield desk
    stop.set()
    thread.join()
    outbox.close()


def _has_offered_a_link(engine: Engine) -> bool:
    with engine.connect() as connection:
        return bool(connection.scalar(select(func.count()).select_from(tables.pass_)))


_clients: list[httpx.Client] = []


@contextmanager
def clients_closed() -> Iterator[None]:
    try:
        yield
    finally:
        while _clients:
            _clients.pop().close()


def client(desk: AppContext, address: str = "127.0.0.1", role: AccountRole | None = None) -> httpx.Client:
    """Of somebody at an address; logged in where a role is given, with a token of the same role."""
    found = httpx.Client(
        transport=httpx.HTTPTransport(local_address=address), base_url=desk.settings.web.url, timeout=30
    )
    _clients.append(found)
    if role is not None:
        name = role.name.lower()
        if desk.store.accounts.hash_of(name) is None:
            desk.store.accounts.add(name, role, access.hashed(PASSWORD, name))
        found.cookies.set(access.COOKIE, desk.store.accounts.let_in(name, role, PassKind.SESSION, hours=1))
        token = desk.store.accounts.let_in(name, role, PassKind.TOKEN)
        found.headers["Authorization"] = f"Bearer {token}"
    return found


def log_in(someone: httpx.Client, name: str, password: str) -> int:
    return someone.post("/login", data={"name": name, "password": password}).status_code


def test_a_setup_link_makes_one_account_however_many_use_it_at_once(desk: AppContext) -> None:
    key = setup_link(desk.settings.web, desk.store.accounts).rpartition("=")[2]
    someone = client(desk)

    def make(number: int) -> int:
        fields = {"key": key, "name": f"admin{number}", "password": PASSWORD}
        return someone.post("/setup", data=fields).status_code

    with ThreadPoolExecutor(6) as pool:
        statuses = list(pool.map(make, range(6)))
    assert sorted(statuses) == [303] + [403] * 5
    assert len(desk.store.accounts.ls()) == 1


def test_a_name_that_is_taken_leaves_the_link_as_it_was(desk: AppContext) -> None:
    desk.store.accounts.add("admin", AccountRole.ADMINISTRATOR, "hash")
    key = setup_link(desk.settings.web, desk.store.accounts).rpartition("=")[2]
    fields = {"key": key, "name": "admin", "password": PASSWORD}
    assert client(desk).post("/setup", data=fields).status_code == 400
    assert client(desk).post("/setup", data=fields | {"name": "other"}).status_code == 303


@pytest.mark.parametrize("password", ["short", " " * 12, "aaaaaaaaaaaa", "administrator", "x" * 1001])
def test_a_password_that_anybody_would_try_is_refused(desk: AppContext, password: str) -> None:
    key = setup_link(desk.settings.web, desk.store.accounts).rpartition("=")[2]
    fields = {"key": key, "name": "Administrator", "password": password}
    assert client(desk).post("/setup", data=fields).status_code == 400
    assert not desk.store.accounts.any()


def test_guesses_from_elsewhere_lock_nobody_out_and_own_logins_buy_no_more_guesses(desk: AppContext) -> None:
    client(desk, role=AccountRole.VIEWER)
    attacker, owner = client(desk, "127.1.2.9"), client(desk, "127.5.5.50")
    statuses = [log_in(attacker, "viewer", "wrong") for _ in range(LOGINS + 60)]
    assert statuses == [401] * LOGINS + [429] * 60
    assert log_in(owner, "viewer", PASSWORD) == 303
    client(desk, role=AccountRole.OPERATOR)
    other = client(desk, "127.1.2.10")
    for _ in range(LOGINS):
        assert log_in(other, "viewer", "wrong") == 401
        if log_in(other, "operator", PASSWORD) == 429:
            break
    assert log_in(other, "viewer", "wrong") == 429


@pytest.mark.parametrize("host", ["[", "evil.example", "", "a b"])
def test_another_name_is_no_name_of_ours(desk: AppContext, host: str) -> None:
    assert client(desk).get("/login", headers={"Host": host}).status_code == 421


def test_what_makes_no_sense_is_refused_and_is_no_fault_of_ours(desk: AppContext) -> None:
    someone = client(desk, role=AccountRole.ADMINISTRATOR)
    huge = 10**30
    for path in (
        f"/images/{huge}",
        f"/images?before={huge}",
        f"/images/1/plane/result?output={huge}",
        f"/images/1/verify/{huge}",
        f"/images/1/download?output={huge}",
        f"/images?text={'x' * 5000}",
    ):
        assert someone.get(path).status_code == 422, path
    odd = {"Content-Type": "application/x-www-form-urlencoded", "Origin": "http://["}
    assert someone.post("/login", content=b"name=a", headers=odd).status_code == 403
    body = b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\n\\ud800\r\n--x--\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=x; charset=unicode_escape"}
    assert someone.post("/login", content=body, headers=kind).status_code == 400
    many = {f"f{number}": "x" for number in range(30)}
    assert someone.post("/login", data=many).status_code == 400


def test_a_fault_of_ours_is_a_document_with_all_headers_and_a_line_without_words(
    desk: AppContext, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: object) -> None:
        raise KeyError("DOE^JOHN")

    someone = client(desk, role=AccountRole.ADMINISTRATOR)
    monkeypatch.setattr(desk.store.search, "images", fail)
    answer = someone.get("/api/v1/images")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-frame-options"] == "DENY"
    assert "KeyError" in "".join(str(vars(record)) for record in caplog.records if record.name == "srnode.web")
    assert "DOE" not in caplog.text + answer.text


def test_only_sealed_words_are_shown_as_the_node_s(desk: AppContext) -> None:
    assert "call 555" not in client(desk).get("/login?told=Your+password+has+expired,+call+555&seal=x").text
    someone = client(desk, role=AccountRole.VIEWER)
    page = someone.get("/").text
    csrf = page.partition('name="csrf" value="')[2].partition('"')[0]
    out = someone.post("/logout", data={"csrf": csrf})
    assert out.headers["clear-site-data"] == '"cache"'
    assert "You are logged out." in client(desk).get(out.headers["location"]).text


def test_whoever_logs_in_goes_where_they_wanted_and_nowhere_else(desk: AppContext) -> None:
    client(desk, role=AccountRole.VIEWER)
    someone = client(desk, "127.3.3.1")
    assert someone.get("/images/1").headers["location"] == "/login?to=%2Fimages%2F1"
    for wanted, gone in (("/images/1", "/images/1"), ("//evil.example", "/"), ("https://evil.example", "/")):
        fields = {"name": "viewer", "password": PASSWORD, "to": wanted}
        assert someone.post("/login", data=fields).headers["location"] == gone


def test_another_login_ends_the_session_before_and_another_password_all_of_them(desk: AppContext) -> None:
    client(desk, role=AccountRole.VIEWER)
    someone = client(desk, "127.3.3.1")
    assert log_in(someone, "viewer", PASSWORD) == 303
    first = someone.cookies[access.COOKIE]
    assert log_in(someone, "viewer", PASSWORD) == 303
    assert desk.store.accounts.who(first, PassKind.SESSION) is None
    assert desk.store.accounts.who(someone.cookies[access.COOKIE], PassKind.SESSION) is not None


def test_pixels_of_patients_stay_in_no_cache(desk: AppContext) -> None:
    answer = client(desk, role=AccountRole.VIEWER).get("/images/1/plane/source")
    assert answer.status_code == 200
    assert len(answer.content) == 32 * 32 * 2
    assert answer.headers["cache-control"] == "no-store"


def test_an_upload_is_refused_before_it_is_read_and_few_are_read_at_a_time(desk: AppContext, tmp_path: Path) -> None:
    file = {"file": save(image(32), tmp_path / "a.dcm").read_bytes()}
    assert client(desk, role=AccountRole.VIEWER).post("/api/v1/rules/try", content=b"x" * 100).status_code == 403
    operator = client(desk, role=AccountRole.OPERATOR)
    assert operator.post("/api/v1/rules/try", files=file).status_code == 200
    for _ in range(2):
        desk.uploading.acquire()
    busy = operator.post("/api/v1/rules/try", files=file)
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "2")


def test_who_waits_for_pixels_holds_up_few(desk: AppContext) -> None:
    viewer = client(desk, role=AccountRole.VIEWER)
    path = "/images/1/verify/1"
    with ThreadPoolExecutor(lightbox._MOST_WAITING) as pool:
        with desk.lightbox._lock:
            waiting = [pool.submit(viewer.get, path) for _ in range(lightbox._MOST_WAITING)]
            wait_until(lambda: desk.lightbox._seats._value == 0, 20, "all seats are taken")
            assert viewer.get(path).status_code == 503
            assert viewer.get("/health/live").status_code == 200
        assert {one.result().status_code for one in waiting} == {200}


def test_connections_that_say_nothing_or_too_little_are_ended(
    desk: AppContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "LOOK_S", 0.2)
    port = desk.settings.web.port
    body = b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\nContent-Length: 999\r\n\r\nx"
    for words in (b"", b"GET / HTTP/1.1\r\n", body):
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            connection.sendall(words)
            assert _is_ended(connection), words
    browser = client(desk)
    for _ in range(8):  # longer than a silent connection lives
        assert browser.get("/health/live").status_code == 200
        time.sleep(0.2)


def _is_ended(connection: socket.socket) -> bool:
    try:
        while connection.recv(10_000):
            pass
        return True
    except ConnectionResetError:
        return True
    except (TimeoutError, BlockingIOError):
        return False


def test_an_address_has_few_connections_and_the_others_are_served(desk: AppContext) -> None:
    port = desk.settings.web.port
    with ExitStack() as held:
        many = [
            held.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            for _ in range(connections.MOST_PER_ADDRESS + 60)
        ]
        assert client(desk, "127.1.2.9").get("/health/live").status_code == 200
        time.sleep(0.5)
        for connection in many:
            connection.setblocking(False)
        assert 0 < sum(not _is_ended(connection) for connection in many) <= connections.MOST_PER_ADDRESS


def test_silent_connections_of_many_addresses_make_room_for_who_asks(desk: AppContext) -> None:
    port = desk.settings.web.port
    with ExitStack() as held:
        for number in range(300):
            address = (f"127.1.3.{1 + number % 8}", 0)
            held.enter_context(socket.create_connection(("127.0.0.1", port), 10, address))
        for number in range(10):
            assert client(desk, f"127.1.4.{1 + number}").get("/health/live").status_code == 200
