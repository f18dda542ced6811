"""The page to type on, in a real browser, at the widths of a phone and of a desktop."""

import os
import shutil
import time
from pathlib import Path

import pytest

from tests.gossipfl.peer.page.browsing import browser, contrast, until
from tests.integration.peers import PeerProcess
from tests.integration.test_keyboard import keyboard_settings

__all__ = ["browser"]

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
pytest.importorskip("playwright.sync_api", reason="no Playwright here: pip install playwright")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no browser here: apt-get install chromium"),
]

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
DESKTOP = {"viewport": {"width": 1240, "height": 900}}


@pytest.fixture(scope="module")
def peers(tmp_path_factory):
    directory = tmp_path_factory.mktemp("keyboard")
    patient = {"exchange": {"patience": 0.05}, "network": {"silence_seconds": 60.0}}
    with PeerProcess(directory / "ada", keyboard_settings(directory, **patient), forked=True) as ada:
        ada.start("--plain").until_at(event=0)
        settings = keyboard_settings(directory, 1, bootstrap=ada.status()["addresses"], **patient)
        with PeerProcess(directory / "bob", settings, forked=True) as bob:
            bob.start("--plain").until_at(event=0)
            yield ada, bob


@pytest.fixture(params=["phone", "desktop"])
def device(request):
    return request.param


@pytest.fixture
def page(browser, peers, device):
    """The page; whatever it says in the console, or asks of another host, fails the test."""
    address = peers[0].status()["page"]
    said, asked = [], []
    context = browser.new_context(**(PHONE if device == "phone" else DESKTOP))
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{address}keyboard#token={peers[0].home.page_token.read_text().strip()}")
    page.locator("#state", has_not_text="Connecting").wait_for()
    yield page
    context.close()
    assert said == []
    assert all(url.startswith(address) for url in asked)
    assert not any("token" in url.partition("#")[0] for url in asked)


def stored(peers):
    return peers[0].status()["keyboard"]["messages"]


def test_the_page_of_a_peer_on_which_nothing_was_typed_shows_no_figure(browser, peers):
    page = browser.new_page()
    page.goto(peers[1].status()["page"])
    page.get_by_text("not yet: nothing was typed").wait_for()
    assert "recall–" in "".join(page.locator("body").text_content().split())
    page.close()


def press(page, device, key):
    button = page.locator(f'#keys [data-key="{key}"]')
    button.tap() if device == "phone" else button.click()


def forget_everything(page):
    page.get_by_role("button", name="Forget everything").click()
    page.get_by_role("dialog").get_by_role("button", name="Forget everything").click()
    page.locator("#said", has_text="forgotten").wait_for()


def test_typing_by_keys_on_the_screen_taking_suggestions_and_forgetting(page, peers, device):
    for key in "see":
        press(page, device, key)
    assert page.locator("#text").input_value() == "See"
    press(page, device, " ")
    for key in "tom":
        press(page, device, key)
    first = page.locator("#suggestions button").first
    until(lambda: first.inner_text() == "tomorrow")
    first.tap() if device == "phone" else first.click()
    assert page.locator("#text").input_value() == "See tomorrow "
    press(page, device, "⌫")
    press(page, device, "⌫")
    assert page.locator("#text").input_value() == "See tomorro"
    press(page, device, "w")
    press(page, device, "⏎")
    page.locator("#sent li", has_text="See tomorrow").wait_for()
    until(lambda: stored(peers) == 1)
    page.locator("#learned-text", has_text="2 words typed").wait_for()
    forget_everything(page)
    until(lambda: stored(peers) == 0)
    assert page.locator("#sent li").count() == 0


def test_typing_by_a_real_keyboard_alone(page, peers, device):
    """Physical keys, Tab to the suggestions, Enter to choose, and words of one's own."""
    page.keyboard.type("Ask Zsuzsanna")
    page.keyboard.press("Enter")
    until(lambda: stored(peers) == 1)
    page.locator("#new-words li", has_text="Zsuzsanna").wait_for()
    first = page.locator("#suggestions button").first
    page.keyboard.type("zs")
    until(lambda: first.inner_text() == "Zsuzsanna")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.parentNode.id") == "suggestions"
    page.keyboard.press("Enter")
    assert page.locator("#text").input_value() == "Zsuzsanna "
    page.get_by_role("button", name="Forget Zsuzsanna").click()
    page.locator("#said", has_text="forgotten").wait_for()
    page.locator("#text").fill("zs")
    until(first.is_disabled)
    assert page.locator("#new-words li").count() == 0
    page.locator("#text").fill("")
    forget_everything(page)


def test_what_is_not_to_be_remembered_is_not(page, peers, device):
    page.get_by_role("switch", name="Remember").click()
    page.locator("#kept", has_text="Not kept").wait_for()
    page.locator("#text").focus()
    page.keyboard.type("a secret of mine ")
    page.keyboard.press("Enter")
    page.locator("#sent li").wait_for()
    page.get_by_role("switch", name="Remember").click()
    page.locator("#text").focus()
    page.keyboard.type("kept ")
    until(lambda: stored(peers) == 1)
    page.locator("#learned-text", has_text="1 word typed").wait_for()
    page.locator("#text").fill("")
    forget_everything(page)


def test_what_has_left_and_the_loop_are_shown_without_a_word(page, peers, device):
    for _ in range(3):
        page.keyboard.type("see you tomorrow at home")
        page.keyboard.press("Enter")
    page.locator("#learned-text", has_text="15 words typed").wait_for()
    rows = page.locator("#left tr")
    rows.first.wait_for()
    bob = peers[1].status()["peer_id"]
    assert rows.first.locator("td").nth(1).get_attribute("title") == bob
    page.locator('#loop [data-part="improved"] span', has_text="ago").or_(
        page.locator('#loop [data-part="improved"] span', has_text="just now")
    ).wait_for()
    for part in ("fetched", "condensed", "sent", "merged"):
        assert page.locator(f'#loop [data-part="{part}"] span').inner_text().strip()
    assert "without noise, models tell" in page.locator("#left-text").inner_text()
    panel = page.locator("section", has=page.locator("#left")).inner_text().lower()
    assert not any(word in panel.split() for word in ("see", "tomorrow", "home"))
    page.get_by_role("button", name="Pause learning").click()
    page.locator("#state", has_text="Paused").wait_for()
    until(lambda: not peers[0].status()["permission"]["trains"])
    page.get_by_role("button", name="Go on learning").click()
    page.locator("#state", has_text="Learning").wait_for()
    look_at(page, device)
    forget_everything(page)


def look_at(page, device):
    """Keep pictures for people, where they are wanted: SCREENSHOTS=DIR."""
    if directory := os.environ.get("SCREENSHOTS"):
        page.locator("#text").focus()
        page.keyboard.type("see you t")
        time.sleep(1)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.screenshot(path=str(Path(directory) / f"keyboard-{device}-{scheme}.png"), full_page=True)
        page.locator("#text").fill("")


def test_it_fits_and_can_be_touched_and_heard(page, device):
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for box in (each.bounding_box() for each in page.locator("#keys .key").all()):
        assert box["height"] >= 44
        assert box["width"] >= 24
    assert page.get_by_role("heading", level=1).count() == page.get_by_role("main").count() == 1
    assert page.get_by_role("textbox", name="Message", exact=True).count() == 1
    assert page.get_by_role("group", name="Suggestions").get_by_role("button").count() >= 1
    assert page.get_by_role("button", name="Delete").count() == 1
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("button:not(:disabled), input")].filter((each) =>
            !(each.innerText || "").trim() && !each.getAttribute("aria-label") && !(each.labels || []).length
            && each.offsetParent && each.dataset.key !== " ").length"""
    )
    assert unnamed == 0
    page.locator("#heard", has_text="Suggestions:").wait_for(state="attached")


def test_the_live_page_leads_here_and_back(page, peers, device):
    page.get_by_role("link", name="Network").click()
    page.get_by_role("link", name="Keyboard").click()
    page.locator("#state", has_not_text="Connecting").wait_for()
    assert page.locator("#text").is_enabled()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_bubbles_have_contrast_in_light_and_dark(browser, peers, scheme):
    with browser.new_context(color_scheme=scheme) as context:
        page = context.new_page()
        page.goto(f"{peers[0].status()['page']}keyboard")
        page.locator("#hint").wait_for()
        assert page.locator("#text").is_disabled()
        names = ["accent", "card", "ink", "ground", "soft"]
        colours = page.evaluate(
            """(names) => names.map((name) =>
                getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim())""",
            names,
        )
    named = dict(zip(names, colours, strict=True))
    for one, other in (("accent", "card"), ("ink", "ground"), ("soft", "ground"), ("soft", "card")):
        assert contrast(named[one], named[other]) >= 4.5, (one, other)
