"""Hooks of the documentation site: pages from outside docs/, generated reference, links as the site has them."""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from tools import reference  # noqa: E402

#: Pages of the repository's root, and where they are in the site.
ROOT_PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "SECURITY.md": "SECURITY.md",
    "CHANGELOG.md": "CHANGELOG.md",
}
_LINK = re.compile(r"(\]\(|<(?:img|a)\b[^>]*?\b(?:src|href)=\")(?![a-z][a-z0-9+.-]*:|/|#)([^)\s\"#]+)")
_FENCE = re.compile(r"(^(?:`{3,}|~{3,}).*?^(?:`{3,}|~{3,})[ \t]*$|`+[^`\n]+`+)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not files in docs/."""
    for name, place in ROOT_PAGES.items():
        files.append(File.generated(config, place, content=(ROOT / name).read_text(encoding="utf-8")))
    for place, text in reference.pages().items():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Lead links to files that the site has not to the repository."""
    place = page.file.src_uri
    written = next((name for name, there in ROOT_PAGES.items() if there == place), f"docs/{place}")

    def rewritten(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(written), match[2]))
        there = ROOT_PAGES.get(target, target.removeprefix("docs/"))
        if (target in ROOT_PAGES or target.startswith("docs/")) and files.get_file_from_path(there):
            return match[1] + posixpath.relpath(there, posixpath.dirname(place) or ".")
        if (ROOT / target).exists():
            return f"{match[1]}{config['extra']['source']}/{target}"
        return match[0]

    parts = _FENCE.split(markdown)
    return "".join(part if index % 2 else _LINK.sub(rewritten, part) for index, part in enumerate(parts))
