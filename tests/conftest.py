"""Distribution of the tests over processes, what no test inherits from those before it, and installed packages."""

import logging
import re
import sys
from collections import defaultdict
from types import SimpleNamespace

import pytest

from tests.installed import install
from topology.plugins import offered

_NO_FIXTURES = SimpleNamespace(name2fixturedefs={})
_DIFFERS = re.compile(r" at 0x[0-9a-f]+|12D3KooW\w+")


def pytest_make_parametrize_id(config, val, argname):
    """Name a case alike in every process: addresses in memory are not part of a name."""
    described = repr(val)
    named = _DIFFERS.sub("", described)
    return named if named != described else None


def pytest_itemcollected(item):
    """Keep tests that share a fixture of wider scope in one process, so that it is made once.

    Not once all are collected: xdist reads the groups before any other plugin's turn comes then.
    """
    for name, definitions in getattr(item, "_fixtureinfo", _NO_FIXTURES).name2fixturedefs.items():
        widest = definitions[-1]
        if widest.scope != "function" and widest.baseid.startswith("tests"):
            item.add_marker(pytest.mark.xdist_group(f"{widest.baseid}:{name}"))
            break


def pytest_collection_modifyitems(config, items):
    """Spread the tests of each directory over the whole run, where several processes share it.

    Some directories wait for networks and others compute: in the order of their names, cores would idle during the
    first. Whole programs are spread over the first four fifths, and `early` tests begin at once, so that no long
    test is the last to begin.
    """
    if not hasattr(config, "workerinput"):
        return
    directories = defaultdict(list)
    for item in items:
        directories[item.path.parent].append(item)
    place = {}
    for directory, members in directories.items():
        short = {"gossipfl", "topology"} & set(directory.relative_to(config.rootpath).parts)
        for number, item in enumerate(members):
            place[item] = (1.0 if short else 0.8) * number / len(members)
            if item.get_closest_marker("early"):
                place[item] = -1.0
    items.sort(key=place.__getitem__)


@pytest.fixture(autouse=True)
def no_lines_held_back():
    """Give each test the log lines it causes: those of earlier tests in this process count against limits, too."""
    for logger in list(logging.root.manager.loggerDict.values()):
        for limits in getattr(logger, "filters", ()):
            if type(limits).__module__ == "gossipfl.network.log_limits":
                limits.forget()


@pytest.fixture
def installed(tmp_path_factory, monkeypatch):
    """Install packages into this process, as `tests.installed.install` does, until the test ends."""
    site, names = tmp_path_factory.mktemp("site"), []
    monkeypatch.syspath_prepend(site)

    def run(name, source, points):
        names.append(name)
        install(site, name, source, points)
        offered.cache_clear()

    yield run
    monkeypatch.undo()
    offered.cache_clear()
    for name in names:
        sys.modules.pop(name, None)
