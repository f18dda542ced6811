"""Generated reference pages: nothing public, no setting and no command is missing from the site."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools import reference

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def pages():
    return reference.pages()


@pytest.mark.parametrize("package", reference.PACKAGES)
def test_every_public_name_is_on_the_page_of_its_package(pages, package):
    page = pages[f"reference/{package.replace('.', '-')}.md"]
    anchors = re.findall(r"^\[\]\(\)\{#(.+)\}$", page, re.MULTILINE)
    assert sorted(anchors) == sorted(f"{package}.{name}" for name in importlib.import_module(package).__all__)


@pytest.mark.parametrize(
    "kind",
    ["peer-settings", "scenario-settings", "sweep-settings", "algorithm-parameters", "attack-parameters"],
)
def test_every_setting_has_a_meaning(pages, kind):
    rows = re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", pages[f"reference/{kind}.md"], re.MULTILINE)
    assert len(rows) > 15
    assert [key for key, meaning in rows if not meaning.strip()] == []


def test_every_option_of_every_command_has_a_meaning(pages):
    page = pages["reference/commands.md"]
    rows = re.findall(r"^\| (`.+?`) \|.*\| (.*) \|$", page, re.MULTILINE)
    assert len(rows) > 100
    assert [option for option, meaning in rows if not meaning.strip()] == []
    for command in ("gossipfl demo", "gossipfl peer init", "gossipfl sim run", "gossipfl topology compare"):
        assert f"\n## {command}\n" in page


def test_every_page_is_in_the_contents():
    contents = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    listed = set(re.findall(r"[\w/.-]+\.md", contents))
    docs = ROOT / "docs"
    assert {str(path.relative_to(docs)) for path in docs.rglob("*.md")} <= listed


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_shows_every_public_name(tmp_path):
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    for package in reference.PACKAGES:
        page = (tmp_path / f"reference/{package.replace('.', '-')}.html").read_text(encoding="utf-8")
        for name in importlib.import_module(package).__all__:
            assert f'id="{package}.{name}"' in page
    fetched = re.compile(
        r"<(?:script|img|iframe)[^>]+src=\"?https?:|<link[^>]+href=\"?https?:[^>]+stylesheet"
    )
    assert [
        path for path in tmp_path.rglob("*.html") if fetched.search(path.read_text(encoding="utf-8"))
    ] == []
