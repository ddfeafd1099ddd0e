"""The dashboard in a real browser, and what it refuses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright
from support.archive import Archive
from support.images import image, save
from support.node import Node
from support.tools import ROOT, free_port, need, wait_until

from dicom_sr_node.domain.records import JobState
from dicom_sr_node.store.search import ImageQuery

PASSWORD = "correct horse battery"  # noqa: S105 - of accounts that live for one test
PICTURES = ROOT / "var" / "screenshots"
HOSTILE = "<script>document.title='OWNED'</script>^\N{RIGHT-TO-LEFT OVERRIDE}EVIL"


def with_web(folder: Path, archive: Archive, more: str = "") -> Node:
    node = Node.configure(folder, peers={"ARCHIVE": archive.port}, more=more)
    node.change("enabled = false", f"port = {free_port()}")
    return node


def url(node: Node) -> str:
    return node.settings.web.url


def setup_link(node: Node) -> str:
    """As the node prints it at its first start."""
    found = wait_until(lambda: re.search(r"http\S+/setup\?key=\S+", node.log.read_text()), 60, "the setup link")
    return found[0]


@pytest.fixture(scope="module")
def archive() -> Iterator[Archive]:
    archive = Archive()
    yield archive
    archive.stop()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, archive: Archive) -> Iterator[Node]:
    node = with_web(tmp_path_factory.mktemp("dashboard"), archive)
    node.start()
    setup_link(node)
    yield node
    node.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        program = need("chromium", "chromium")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """With nobody logged in; what goes wrong in a script fails the test."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    page, faults = context.new_page(), list[str]()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if "Content Security Policy" in said.text else None)
    yield page
    context.close()
    assert faults == []


def photograph(page: Page, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png", full_page=True)


def log_in(page: Page, node: Node, name: str) -> None:
    page.goto(f"{url(node)}/login")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Now")).to_be_visible()


@pytest.fixture(scope="module")
def accounts(node: Node, browser: Browser) -> None:
    """admin by the setup link, then olga (operator) and vera (viewer) as an administrator makes them."""
    context = browser.new_context()
    page, link = context.new_page(), setup_link(node)
    page.goto(link)
    page.get_by_label("Name").fill("admin")
    page.get_by_label("Password").fill("short")
    page.get_by_role("button", name="Make").click()
    page.get_by_label("Password").fill(PASSWORD)  # the browser itself has refused the short one
    page.get_by_role("button", name="Make").click()
    expect(page.get_by_role("heading", name="Now")).to_be_visible()
    page.goto(link)
    expect(page.get_by_text("This link was used or is too old")).to_be_visible()
    for name, role in (("olga", "operator"), ("vera", "viewer")):
        page.goto(f"{url(node)}/people")
        form = page.locator("form[action='/people/add']")
        form.get_by_label("Name").fill(name)
        form.get_by_label("Role").select_option(label=role)
        form.get_by_label("Password").fill(PASSWORD)
        form.get_by_role("button", name="Make").click()
        expect(page.get_by_text(f"Done: made account {name}")).to_be_visible()
    context.close()


@pytest.mark.usefixtures("accounts")
def test_an_image_is_watched_from_the_first_byte_to_the_archive(
    node: Node, archive: Archive, page: Page, tmp_path: Path
) -> None:
    """Arrival live, a dead delivery retried by hand, the slider, what was added, verification, logout."""
    log_in(page, node, "olga")
    live = page.locator("[data-live]")
    ds = image(64, number=1)
    ds.SpecificCharacterSet, ds.PatientName, ds.AccessionNumber = "ISO_IR 192", HOSTILE, "ACC-7"
    archive.script = [0xA900]  # the first try: this archive will never take it
    archive.start()
    node.storescu(save(ds, tmp_path / "a.dcm"))
    expect(live.locator(".fate-dead span")).to_have_text("1", timeout=60_000)
    expect(live.get_by_text("1 image is dead")).to_be_visible()
    photograph(page, "now-trouble")

    page.goto(f"{url(node)}/images?text=acc-7")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody")).to_contain_text("<script>document.title='OWNED'</script>")
    expect(page.locator("tbody")).not_to_contain_text("\N{RIGHT-TO-LEFT OVERRIDE}")
    assert "OWNED" not in page.title()
    photograph(page, "images")
    page.goto(f"{url(node)}/images?text=nothing-like-this")
    expect(page.get_by_text("No image is like this")).to_be_visible()

    page.goto(f"{url(node)}/images/1")
    page.get_by_role("button", name="Retry").click()
    expect(page.locator(".told")).to_have_text("1 delivery is tried at once.")
    node.wait(jobs=1)
    page.reload()
    expect(page.locator(".facts")).to_contain_text("delivered")
    assert len(archive.uids) == 1

    viewer = page.locator(".viewer[data-ready=true]")
    expect(viewer).to_be_visible(timeout=60_000)
    left, right = shade(page, 0.3), shade(page, 0.7)
    page.locator("[data-role=split]").fill("100")  # the original everywhere
    only_original = shade(page, 0.7)
    page.locator("[data-role=split]").fill("0")
    assert shade(page, 0.3) != left, "the divider moves nothing"
    assert shade(page, 0.7) == right
    assert only_original != right
    page.get_by_label("What was added").check()
    wait_until(lambda: shade(page, 0.7) != right, 20, "the heat map")
    page.get_by_label("What was added").uncheck()
    page.locator("[data-role=width]").fill("10")
    wait_until(lambda: shade(page, 0.7) != right, 20, "another window")
    page.locator("canvas").press("+")
    page.get_by_role("button", name="Verify the result").click()
    expect(page.get_by_text("PASS").first).to_be_visible(timeout=60_000)
    expect(page.get_by_text("FAIL", exact=True)).to_have_count(0)
    photograph(page, "image")
    expect(page.get_by_text("sending retried")).to_be_visible()
    expect(page.get_by_text("by olga", exact=False).first).to_be_visible()

    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    page.goto(f"{url(node)}/images/1")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()


def shade(page: Page, across: float) -> list[int]:
    """A sum of the canvas's pixels in a column, at this share of its width."""
    script = """([canvas, across]) => {
        const x = Math.floor(canvas.width * across);
        const data = canvas.getContext('2d').getImageData(x, 0, 40, canvas.height).data;
        const sums = [0, 0, 0];
        for (let i = 0; i < data.length; i += 4) for (let c = 0; c < 3; c++) sums[c] += data[i + c];
        return sums;
    }"""
    page.wait_for_timeout(200)  # it is drawn with the next frame
    handle = page.locator(".viewer canvas").element_handle()
    return list(page.evaluate(script, [handle, across]))


@pytest.mark.usefixtures("accounts")
def test_a_dropped_file_tells_what_the_rules_would_do(node: Node, page: Page, tmp_path: Path) -> None:
    log_in(page, node, "olga")
    before = node.store.jobs.counts()
    page.goto(f"{url(node)}/rules")
    expect(page.locator("table").first).to_contain_text("everything")
    page.locator("input[type=file]").set_input_files(save(image(64, number=9), tmp_path / "drop.dcm"))
    page.get_by_role("button", name="Try").click()
    expect(page.get_by_role("heading", name="Rule all takes it", exact=False)).to_be_visible(timeout=60_000)
    expect(page.locator("#trial")).to_contain_text("ARCHIVE")
    photograph(page, "rules")
    page.locator("input[type=file]").set_input_files({"name": "x", "mimeType": "a/b", "buffer": b"no DICOM"})
    page.get_by_role("button", name="Try").click()
    expect(page.locator(".told")).to_contain_text("not a readable DICOM file", timeout=60_000)
    assert node.store.jobs.counts() == before
    assert [path for path in (node.settings.node.spool / "tmp").rglob("*") if path.is_file()] == []


@pytest.mark.usefixtures("accounts")
def test_every_page_opens_and_is_readable_by_keyboard_and_screen_reader(
    node: Node, archive: Archive, page: Page, tmp_path: Path
) -> None:
    """WCAG 2.1 AA as far as axe-core sees it, in light and dark; no page is wider than a telephone."""
    number = send_one(node, tmp_path, 23)
    log_in(page, node, "admin")
    for name in ("", "images", f"images/{number}", "rules", "peers", "models", "training", "people", "account"):
        page.goto(f"{url(node)}/{name}")
        assert_accessible(page, name)
        assert page.locator("h1").count() == 1
        assert page.locator("html[lang=en]").count() == 1
        unnamed = "input:not([type=hidden]), select"
        for field in page.locator(unnamed).all():
            assert field.evaluate("field => field.labels.length || field.getAttribute('aria-label')"), name
        photograph(page, name.replace("/", "-") or "now")
        page.emulate_media(color_scheme="dark")
        assert_accessible(page, f"{name}, dark")
        photograph(page, f"{name.replace('/', '-') or 'now'}-dark")
        page.set_viewport_size({"width": 390, "height": 844})
        widest = page.evaluate("document.documentElement.scrollWidth")
        assert widest <= 390, f"{name} is {widest} pixels wide"
        page.set_viewport_size({"width": 1400, "height": 1000})
        page.emulate_media(color_scheme="light")
    page.goto(f"{url(node)}/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"


def assert_accessible(page: Page, name: str) -> None:
    page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
    found = Axe().run(page, options={"runOnly": tags, "resultTypes": ["violations"]}).response["violations"]
    told = [(fault["id"], node["target"]) for fault in found for node in fault["nodes"]]
    assert told == [], f"page {name!r}"


@pytest.mark.usefixtures("accounts")
def test_now_keeps_the_focus_and_says_when_it_is_old(node: Node, page: Page) -> None:
    log_in(page, node, "vera")
    page.locator(".counts a").first.focus()
    with page.expect_response("**/now/live"):
        pass
    with page.expect_response("**/now/live"):
        pass
    assert page.evaluate("document.activeElement.closest('.counts') !== null"), "the focus is lost"
    expect(page.locator("#lost")).to_be_hidden()
    page.route("**/now/live", lambda route: route.abort())
    expect(page.locator("#lost")).to_contain_text("No news from the node since", timeout=15_000)
    page.unroute("**/now/live")
    expect(page.locator("#lost")).to_be_hidden(timeout=15_000)


@pytest.mark.usefixtures("accounts")
def test_an_image_that_is_worked_on_shows_its_result_without_a_reload(
    node: Node, archive: Archive, page: Page, tmp_path: Path
) -> None:
    """It waits for an archive that is away; sent by hand once that is back. Zoom keeps what is under the middle."""
    archive.stop()
    log_in(page, node, "olga")
    before = node.store.search.images(ImageQuery(), 1)
    number = (before[0]["id"] if before else 0) + 1
    node.storescu(save(image(64, number=31), tmp_path / "live.dcm"))
    page.goto(f"{url(node)}/images/{number}")
    viewer = page.locator(".viewer[data-ready=true]")
    expect(viewer).to_be_visible(timeout=60_000)
    expect(page.get_by_text("tries failed", exact=False).or_(page.get_by_text("1 try failed"))).to_be_visible(
        timeout=60_000
    )
    page.get_by_role("button", name="Retry").click()
    expect(page.locator(".told")).to_have_text(re.compile("1 delivery is tried at once|It is being sent just now"))
    archive.start()
    expect(page.locator(".facts")).to_contain_text("delivered", timeout=60_000)
    expect(page.get_by_text("by rule all", exact=False)).to_be_visible()
    page.set_viewport_size({"width": 375, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 375, "wider than a telephone"
    page.set_viewport_size({"width": 1400, "height": 1000})
    where = "(v => [(100 - v.x) / v.zoom, (-50 - v.y) / v.zoom])(document.querySelector('.viewer').viewer)"
    page.locator("canvas").press("ArrowUp")
    before_zoom = page.evaluate(where)
    page.evaluate("document.querySelector('.viewer').viewer.magnify(3, 100, -50)")
    assert page.evaluate(where) == pytest.approx(before_zoom), "the zoom loses its place"
    assert page.evaluate("document.querySelector('.viewer').viewer.zoom") == 3
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Send again").click()
    expect(page.locator(".told")).to_have_text("1 delivery is tried again, the same bytes.")
    node.wait(jobs=1)


def send_one(node: Node, folder: Path, number: int) -> int:
    """An image that is skipped at once; returns its id. Each test may run alone, and on a node of its own."""
    ds = image(64, number=number)
    ds.Manufacturer = "dicom_sr_node"
    node.storescu(save(ds, folder / "skipped.dcm"))
    job = wait_until(lambda: node.store.jobs.of_image(str(ds.SOPInstanceUID)), 20, "its job")
    wait_until(lambda: node.store.jobs.get(job.id).state == JobState.SKIPPED, 60, "its end")
    return job.instance_id


@pytest.mark.usefixtures("accounts")
def test_a_viewer_looks_and_changes_nothing(node: Node, page: Page, tmp_path: Path) -> None:
    number = send_one(node, tmp_path, 21)
    log_in(page, node, "vera")
    page.goto(f"{url(node)}/images/{number}")
    assert page.get_by_role("button", name="Retry").count() == 0
    token = page.locator("input[name=csrf]").first.get_attribute("value") or ""
    cookies = {c["name"]: c["value"] for c in page.context.cookies()}
    with httpx.Client(base_url=url(node), cookies=cookies) as client:
        for path in (
            f"/images/{number}/retry",
            "/models/rollback",
            "/people/remove",
            "/peers/ARCHIVE/try",
            "/rules/try",
        ):
            answer = client.post(path, data={"csrf": token, "name": "admin"}, files={"file": b"x"})
            assert answer.status_code == 403, path
            assert "not enough" in answer.text
        assert client.get("/people").status_code == 403
        assert client.get(f"/images/{number}/download").status_code == 403
    assert len(node.store.accounts.ls()) == 3


@pytest.mark.usefixtures("accounts")
def test_a_form_of_another_session_or_site_changes_nothing(node: Node, page: Page, tmp_path: Path) -> None:
    number = send_one(node, tmp_path, 22)
    before = node.store.jobs.counts()
    log_in(page, node, "olga")
    cookies = {c["name"]: c["value"] for c in page.context.cookies()}
    csrf = page.locator("input[name=csrf]").first.get_attribute("value") or ""
    with httpx.Client(base_url=url(node), cookies=cookies) as client:
        for data, headers in (({}, {}), ({"csrf": "0" * 64}, {}), ({"csrf": csrf}, {"Origin": "http://evil.example"})):
            assert client.post(f"/images/{number}/retry", data=data, headers=headers).status_code == 403
        assert client.get("/", headers={"Host": "evil.example"}).status_code == 421
    assert node.store.jobs.counts() == before
    assert "retried" not in [event["what"] for event in node.store.instances.events(number)]


def test_passwords_cannot_be_guessed_for_long(tmp_path: Path, archive: Archive) -> None:
    node = with_web(tmp_path, archive)
    node.start("web")
    try:
        setup_link(node)
        with httpx.Client(base_url=url(node)) as client:
            codes = [client.post("/login", data={"name": "root", "password": str(n)}).status_code for n in range(12)]
            assert codes == [401] * 10 + [429] * 2
            refused = client.post("/login", data={"name": "root", "password": "x"})
            assert 0 < int(refused.headers["Retry-After"]) <= 300
    finally:
        node.stop()


def test_every_answer_keeps_scripts_and_frames_of_others_out(node: Node) -> None:
    with httpx.Client(base_url=url(node)) as client:
        for path in ("/login", "/static/viewer.js", "/health/live", "/api/v1/status", "/none"):
            headers = client.get(path).headers
            assert "script-src 'self'" in headers["Content-Security-Policy"], path
            assert "unsafe" not in headers["Content-Security-Policy"]
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["X-Frame-Options"] == "DENY"
        static = ROOT / "dicom_sr_node" / "web"
        for file in [*static.glob("templates/*"), *static.glob("static/*.css"), *static.glob("static/*.js")]:
            assert "://" not in file.read_text().replace("http://www.w3.org/", ""), f"{file.name} asks another host"
