"""A second try, alone, for tests of sockets and processes that failed while others shared the processors."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

_FAILED: Final = Path(".pytest_cache/v/cache/lastfailed")
# What computes must give the same result under any load: it gets no second try.
_WAITING: Final = (
    "tests/integration/",
    "tests/interop/",
    "tests/gossipfl/cli/",
    "tests/gossipfl/demo/",
    "tests/gossipfl/network/",
    "tests/gossipfl/peer/",
    "tests/sims/replay/",
    "tests/sims/sweeping/",
)
_MOST: Final = 5
_GROUP: Final = re.compile(r"@[^\]@]+$")  # added to the names of tests that share a fixture


def worth_another_try(failed: list[str]) -> bool:
    """Say whether all failures may have been of load: few, and of tests that wait for other processes."""
    return 0 < len(failed) <= _MOST and all(each.startswith(_WAITING) for each in failed)


def main() -> int:
    """Run the tests that failed last once more, one at a time; return the exit status of `make test`."""
    known = json.loads(_FAILED.read_text(encoding="utf-8")) if _FAILED.is_file() else {}
    failed = [_GROUP.sub("", each) for each in known]
    if not worth_another_try(failed):
        return 1
    print("\nonce more, alone:", *failed, sep="\n  ", flush=True)
    status = subprocess.call([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *failed])
    if status == 0:
        print(
            "passed only when alone (a fault of the test, or one that load brings out):", *failed, sep="\n  "
        )
    return status


if __name__ == "__main__":
    sys.exit(main())
