"""Distribution of the tests over processes."""

import re

import pytest

_DIFFERS = re.compile(r" at 0x[0-9a-f]+|12D3KooW\w+")


def pytest_make_parametrize_id(config, val, argname):
    """Name a case alike in every process: addresses in memory are not part of a name."""
    described = repr(val)
    named = _DIFFERS.sub("", described)
    return named if named != described else None


def pytest_collection_modifyitems(items):
    """Keep tests that share a fixture of wider scope in one process, so that it is made once."""
    for item in items:
        for definitions in item._fixtureinfo.name2fixturedefs.values():
            widest = definitions[-1]
            if widest.scope != "function" and widest.baseid.startswith("tests"):
                item.add_marker(pytest.mark.xdist_group(f"{widest.baseid}:{widest.argname}"))
                break
