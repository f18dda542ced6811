"""Prose of the source: modules open with a noun phrase that names what they hold."""

import ast
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
QUESTIONS = {"What", "How", "From", "Whether", "Who", "Whose", "Where", "When", "Why", "Which"}


def first_words(*patterns):
    """The first word of each module's docstring, by file."""
    listed = subprocess.run(
        ["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    files = [ROOT / name for name in listed if (ROOT / name).is_file()]
    documented = {path: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) for path in files}
    return {
        str(path.relative_to(ROOT)): said.split(maxsplit=1)[0] for path, said in documented.items() if said
    }


def test_no_module_opens_with_a_question():
    words = first_words("*.py")
    assert len(words) > 300
    assert [name for name, word in words.items() if word in QUESTIONS] == []
