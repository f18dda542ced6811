"""The page of a whole demo in a real browser: a peer is killed and revived with its buttons."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gossipfl.demo.test_page import ADDRESS
from tests.gossipfl.peer.page.browsing import browser, complaints, needs_browser, until

__all__ = ["browser"]

pytestmark = needs_browser


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The address of a demo of three peers; the demo has to end well once the browser has finished it."""
    out = tmp_path_factory.mktemp("demo") / "run"
    options = ("--page", "--peers", "3", "--partition", "iid", "--json", "--duration", "500")
    demo = subprocess.Popen(
        [sys.executable, "-m", "gossipfl", "demo", *options, "--out", str(out)],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield ADDRESS.search(demo.stderr.readline()).group(0)
        said, err = demo.communicate(timeout=120)
        assert demo.returncode in {0, 1}, err  # so early it need not have converged
        assert '"restarted": [1]' in said
    finally:
        demo.kill()
        demo.wait()


def test_a_peer_is_killed_and_revived_by_its_button(browser, address):
    said, asked = [], []
    with browser.new_context(viewport={"width": 1240, "height": 1100}) as context:
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        row = page.locator("#row-1")
        until(lambda: page.locator("#peers .tag", has_text="running").count() == 3, seconds=180)
        page.locator(".pulse").first.wait_for(state="attached", timeout=120_000)

        page.get_by_role("button", name="Kill peer 1").click()
        row.locator(".tag", has_text="killed").wait_for()
        page.locator(".node.bad .below", has_text="killed").wait_for()
        page.locator("#tiles", has_text="2 / 3").wait_for()
        for number in (0, 2):  # two stay up
            assert page.get_by_role("button", name=f"Kill peer {number}").is_disabled()
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            assert complaints(page) == []

        page.get_by_role("button", name="Revive peer 1").focus()
        page.keyboard.press("Enter")
        row.locator(".tag", has_text="running").wait_for(timeout=120_000)
        page.locator("#tiles", has_text="3 / 3").wait_for()
        page.get_by_role("button", name="Kill peer 0").wait_for()

        page.get_by_role("button", name="Finish").click()
        page.locator("#state", has_text="The demo has ended").wait_for(timeout=120_000)
    assert [each for each in said if "Failed to load resource" not in each] == []  # once the demo has ended
    assert asked
    assert all(url.startswith(address.partition("#")[0]) for url in asked)
    assert not any("token" in url for url in asked)
