"""Pictures of pages in docs/images/page: ``python docs/make_screenshots.py``.

Takes two minutes; needs Chromium (``apt-get install chromium``) and ``pip install playwright``.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

IMAGES = Path(__file__).parent / "images" / "page"
GOSSIPFL = [sys.executable, "-m", "gossipfl"]
PEERS = 7
SECONDS = 30
WIDTH = 1240
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/#token=\S+")
SCRIPT = "#!/bin/sh\n[ ! -e busy ] || { echo somebody is logged in; exit 1; }\n"


def asked(*arguments: object) -> str:
    """What a command prints."""
    done = subprocess.run([*GOSSIPFL, *map(str, arguments)], check=True, capture_output=True, text=True)
    return done.stdout


@contextmanager
def peer(home: Path, index: int, *options: str, bootstrap: str | None = None) -> Iterator[str]:
    """Run a peer; gives the address of its page."""
    dealt = ("partition=shards:2", f"peers={PEERS}", f"index={index}")
    given = [word for each in dealt for word in ("--option", each)]
    given += ["--network-bootstrap", bootstrap] if bootstrap else []
    asked("peer", "init", "--home", home, "--page-enabled", *given, *options)
    if (home / "peer.toml").read_text().count("may-train"):
        (home / "may-train").write_text(SCRIPT)
        (home / "may-train").chmod(0o700)
    with subprocess.Popen([*GOSSIPFL, "peer", "run", "--home", str(home), "--json"], stdout=-1) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield asked("peer", "page", "--home", home).strip()
        finally:
            process.terminate()


@contextmanager
def opened(browser: Browser, address: str, **options: Any) -> Iterator[Any]:
    """Open a page."""
    with browser.new_context(viewport={"width": WIDTH, "height": 900}, **options) as context:
        page = context.new_page()
        page.set_default_timeout(180_000)  # a machine may be busy
        page.goto(address)
        yield page


def pictures_of_peers(browser: Browser, directory: Path) -> None:
    """A peer among others, light and dark, and one that waits for its script."""
    quick = ("--exchange-period", "0.4", "--estimates-period", "10", "--evaluation-merge-samples", "64")
    with ExitStack() as stack:
        first = stack.enter_context(peer(directory / "0", 0, *quick))
        bootstrap = json.loads(asked("peer", "status", "--home", directory / "0", "--json"))["addresses"][0]
        for index in range(1, PEERS):
            stack.enter_context(peer(directory / str(index), index, *quick, bootstrap=bootstrap))
        for scheme in ("light", "dark"):
            page = stack.enter_context(opened(browser, first, color_scheme=scheme))
            page.locator("dt", has_text="Consensus distance").wait_for()
            page.wait_for_timeout(1000 * SECONDS)
            page.screenshot(path=IMAGES / f"{scheme}.png", full_page=True)
    policy = ("--policy-script", str(directory / "waiting" / "may-train"), "--policy-hours", "00:00-24:00")
    with peer(directory / "waiting", 0, *policy, "--policy-period", "0.5", "--policy-dwell", "0") as address:
        (directory / "waiting" / "busy").touch()
        with opened(browser, address) as page:
            page.locator("#policy tr", has_text="somebody is logged in").wait_for()
            page.locator("#policy-card").screenshot(path=IMAGES / "waiting.png")


def picture_of_a_demo(browser: Browser, directory: Path) -> None:
    """A demo of eight peers, one of them killed by its button."""
    options = ["--page", "--duration", "200", "--out", str(directory / "demo")]
    with subprocess.Popen([*GOSSIPFL, "demo", *options], stderr=-1, stdout=-3, text=True) as process:
        assert process.stderr is not None
        address = next(found[0] for line in process.stderr if (found := ADDRESS.search(line)))
        with opened(browser, address, color_scheme="dark") as page:
            page.locator("#tiles", has_text="8 / 8").wait_for(timeout=120_000)
            page.wait_for_timeout(1000 * SECONDS)
            page.get_by_role("button", name="Kill peer 2").click()
            page.locator(".node.bad").wait_for()
            page.wait_for_timeout(4000)
            page.evaluate("scrollTo(0, 0)")  # the heading would lie over what is further down
            page.screenshot(path=IMAGES / "demo.png", full_page=True)
            page.get_by_role("button", name="Finish").click()
        process.communicate(timeout=120)


def main() -> None:
    """Make all pictures."""
    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        pictures_of_peers(browser, Path(name))
        picture_of_a_demo(browser, Path(name))
        browser.close()


if __name__ == "__main__":
    main()
