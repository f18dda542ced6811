"""The documents hold together: every relative link leads to a file, every anchor to a heading."""

import re
import urllib.parse
from collections import Counter
from pathlib import Path

import pytest

from tests.integration.hostile_inputs import CASES

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
SOURCE = re.compile(r"<(?:img|a)\b[^>]*?\b(?:src|href)=\"([^\"]+)\"")
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)


def prose(page):
    """A page without what stands in it as code."""
    text = re.sub(
        r"^(`{3,}|~{3,}).*?^\1", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    return re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "code", text)


def anchors(page):
    """Of all headings, as GitHub makes them: small, no punctuation, hyphens for spaces, counted if repeated."""
    text = re.sub(
        r"^(`{3,}|~{3,}).*?^\1", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    found, seen = set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", text)), Counter()
    for heading in re.findall(r"^#{1,6}\s+(.+?)\s*#*$", text, re.MULTILINE):
        shown = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def broken_links(page):
    broken = []
    text = prose(page)
    for link in [*LINK.findall(text), *SOURCE.findall(text)]:
        if ELSEWHERE.match(link):
            continue
        place, _, anchor = urllib.parse.unquote(link).partition("#")
        target = (page.parent / place).resolve() if place else page
        if not target.exists() or not target.is_relative_to(ROOT):
            broken.append(f"{link}: there is no such file")
        elif anchor and target.suffix == ".md" and anchor not in anchors(target):
            broken.append(f"{link}: there is no such heading")
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page):
    assert broken_links(page) == []


def test_a_broken_link_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    (tmp_path / "other.md").write_text("# What it does, and why\n## Twice\n## Twice\n```\n# none\n```\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](other.md) [b](other.md#what-it-does-and-why) [c](other.md#twice-1) [d](https://example.org/x)\n"
        '[e](none.md) [f](other.md#none) [g](#here) `[h](code.md)` ![i](none.png) <img src="none.svg">\n'
        "[![j](none.gif)](other.md)\n# Here\n"
    )
    found = [each.partition(":")[0] for each in broken_links(page)]
    assert found == ["none.md", "other.md#none", "none.png", "none.gif", "none.svg"]


def test_every_key_of_the_demos_summary_is_described():
    table = (ROOT / "docs" / "demo.md").read_text(encoding="utf-8").partition("## The summary")[2]
    rows = re.findall(r"^\| (`.*?) \| (?:\([^)]*\) )?(.*?) ?\|$", table, re.MULTILINE)
    assert len(rows) == len(re.findall(r"^\| `", table, re.MULTILINE)) >= 15
    assert [keys for keys, description in rows if not description.strip()] == []


def test_every_counter_of_a_hostile_input_is_in_the_networks_table():
    page = (ROOT / "docs" / "network.md").read_text(encoding="utf-8")
    table = page.partition("## Attacks by other peers")[2]
    listed = {
        name for row in re.findall(r"^\|.*\|$", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    assert {each.counter for each in CASES if each.counter} <= listed
