"""The page in a real browser: it moves, steers, asks nobody else, and needs neither a mouse nor eyes."""

import pytest

from tests.gossipfl.peer.page.browsing import browser, complaints, needs_browser, until
from tests.integration.peers import PeerProcess, quick_settings

__all__ = ["browser"]

pytestmark = needs_browser


@pytest.fixture(scope="module")
def peers(tmp_path_factory):
    directory = tmp_path_factory.mktemp("browser")
    patient = {"network": {"silence_seconds": 60.0}, "estimates": {"period": 5.0}}
    with PeerProcess(
        directory / "alice", quick_settings(page={"enabled": True}, **patient), forked=True
    ) as alice:
        alice.start("--plain").until_at(step=1)
        settings = quick_settings(1, bootstrap=alice.status()["addresses"], **patient)
        with PeerProcess(directory / "bob", settings, forked=True) as bob:
            bob.start("--plain").until_at(step=1)
            yield alice, bob


@pytest.fixture
def page(browser, peers):
    """The page with its token; whatever it says in the console, or asks of another host, fails the test."""
    address = peers[0].status()["page"]
    said, asked = [], []
    context = browser.new_context(viewport={"width": 1240, "height": 980})
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{address}#token={peers[0].home.page_token.read_text().strip()}")
    yield page
    context.close()
    assert said == []
    assert asked
    assert all(url.startswith(address) for url in asked)
    assert not any("token" in url.partition("#")[0] for url in asked)


def cell_of(row, column):
    """The text of a row of neighbours in the column of that name."""
    columns = row.page.locator("table:has(#peers) th[scope=col]").all_inner_texts()
    place = [each.casefold() for each in columns].index(column.casefold())
    return row.locator("th, td").nth(place).inner_text()


def test_the_page_shows_the_peer_and_what_moves(page, peers):
    page.locator("#state", has_text="Learning").wait_for()
    assert page.locator("#identity").inner_text() == peers[0].status()["peer_id"]
    page.locator(".node").nth(1).wait_for()
    page.locator(".pulse").first.wait_for(state="attached")
    page.locator("#events li", has_text="merged a model of").first.wait_for()
    assert "token" not in page.url
    row = page.locator("#peers tr", has_text=peers[1].status()["peer_id"][-6:])
    until(lambda: int(cell_of(row, "Merged from it").replace(",", "")) > 0)
    until(lambda: cell_of(row, "Codec") == "float32")
    page.locator("dt", has_text="Peers in the network").wait_for()  # an estimate


def test_pause_and_resume_by_the_keyboard(page, peers):
    button = page.get_by_role("button", name="Pause")
    until(button.is_enabled)
    button.focus()
    page.keyboard.press("Enter")
    page.locator("#state", has_text="Paused").wait_for()
    page.get_by_role("button", name="Resume").focus()
    page.keyboard.press("Space")
    page.locator("#state", has_text="Learning").wait_for()


def test_a_peer_that_waits_says_what_for(browser, tmp_path):
    policy = {"period": 0.2, "dwell": 0.0, "hours": ["00:00-24:00"], "script": "may-train"}
    home = tmp_path / "carol"
    with PeerProcess(home, quick_settings(page={"enabled": True}, policy=policy), forked=True) as carol:
        script = home / "may-train"
        script.write_text("#!/bin/sh\ntest ! -e busy || { echo somebody is logged in; exit 1; }\n")
        script.chmod(0o700)
        carol.start("--plain").until_at(step=1)
        with browser.new_context(viewport={"width": 1240, "height": 1400}) as context:
            page = context.new_page()
            page.goto(carol.status()["page"])
            page.locator("#state", has_text="Learning").wait_for()
            page.locator("#policy-text", has_text="All conditions hold").wait_for()
            (home / "busy").touch()
            page.locator("#state", has_text="Waiting").wait_for()
            page.locator("#policy tr", has_text="exited with code 1: somebody is logged in").wait_for()
            assert page.locator("#policy tr").count() == 2
            page.locator("#events li", has_text="training waits: script").wait_for()
            page.screenshot(path=tmp_path / "waiting.png")
            (home / "busy").unlink()
            page.locator("#events li", has_text="training is allowed").wait_for()
            page.locator("#state", has_text="Learning").wait_for()


def test_leaving_is_asked_about_and_can_be_declined(page, peers):
    until(page.get_by_role("button", name="Leave").is_enabled)
    page.get_by_role("button", name="Leave").click()
    page.get_by_role("dialog", name="Leave the network?").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="hidden")
    assert peers[0].process.poll() is None
    assert not peers[0].home.requests.exists() or '"leaves": null' in peers[0].home.requests.read_text()


def test_a_screen_reader_finds_its_way(page):
    page.locator("#peers tr").first.wait_for()
    assert page.get_by_role("main").count() == page.get_by_role("banner").count() == 1
    assert page.get_by_role("heading", level=1).count() == 1
    assert page.get_by_role("status").inner_text().strip()
    assert page.get_by_role("img", name="Network, as this peer sees it").count() == 1
    assert page.get_by_role("table").get_by_role("columnheader").count() == 10
    assert page.get_by_role("group", name="Steer this peer").get_by_role("button").count() == 2
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"


def test_without_the_token_the_buttons_are_off_and_the_page_says_why(browser, peers):
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(peers[0].status()["page"])
        page.locator("#state", has_text="Learning").wait_for()
        assert page.locator("#hint").is_visible()
        assert page.get_by_role("button", name="Leave").is_disabled()


def test_nothing_moves_for_those_who_want_it_calm(browser, peers):
    with browser.new_context(reduced_motion="reduce") as context:
        page = context.new_page()
        page.goto(peers[0].status()["page"])
        page.locator("#events li", has_text="merged").first.wait_for()
        assert page.locator(".pulse").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1240])
def test_axe_finds_nothing_in_the_way_of_anybody(browser, peers, scheme, width):
    """Contrast, names, roles, landmarks, focus; with the token and the question about leaving, too."""
    viewport = {"width": width, "height": 980}
    with browser.new_context(color_scheme=scheme, viewport=viewport, reduced_motion="reduce") as context:
        page = context.new_page()
        page.goto(f"{peers[0].status()['page']}#token={peers[0].home.page_token.read_text().strip()}")
        page.locator("#events li", has_text="merged").first.wait_for()
        page.locator("#peers tr").first.wait_for()
        until(page.get_by_role("button", name="Leave").is_enabled)
        assert complaints(page) == []
        page.get_by_role("button", name="Leave").click()
        page.get_by_role("dialog").wait_for()
        assert complaints(page) == []


def test_the_page_says_when_the_peer_has_ended(browser, tmp_path):
    with PeerProcess(tmp_path / "carol", quick_settings(page={"enabled": True}), forked=True) as carol:
        carol.start("--plain").until_at(step=1)
        with browser.new_context() as context:
            page = context.new_page()
            page.goto(f"{carol.status()['page']}#token={carol.home.page_token.read_text().strip()}")
            until(page.get_by_role("button", name="Leave").is_enabled)
            page.get_by_role("button", name="Leave").click()
            page.get_by_role("dialog").get_by_role("button", name="Leave").click()
            assert carol.process.wait(timeout=60) == 0
            page.locator("#state", has_text="does not answer").wait_for(timeout=60_000)
            assert page.get_by_role("button", name="Leave").is_disabled()
