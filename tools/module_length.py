"""A bound on the length of modules: past it a module has more than one role."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SOURCE, TESTS = 400, 600
ROOT = Path(__file__).resolve().parent.parent


def too_long() -> list[str]:
    """Modules that are too long, with what is allowed."""
    listed = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    found = []
    for name in listed:
        allowed = TESTS if name.startswith("tests/") else SOURCE
        path = ROOT / name
        count = len(path.read_text(encoding="utf-8").splitlines()) if path.is_file() else 0
        if count > allowed:
            found.append(f"{name}: expected at most {allowed} lines, got {count}: divide it by role")
    return found


if __name__ == "__main__":
    complaints = too_long()
    print("\n".join(complaints), file=sys.stderr)
    sys.exit(1 if complaints else 0)
