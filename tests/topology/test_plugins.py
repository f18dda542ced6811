"""Objects of the user's own, from the current directory and from a directory of theirs."""

from __future__ import annotations

import sys

import pytest

from topology.errors import InvalidParameter, TopologyError, UnknownTopology
from topology.plugins import load_object


def load(name, directory=None):
    return load_object(
        name, kind="function", unknown=UnknownTopology, unusable=InvalidParameter, directory=directory
    )


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Two directories, the first of which is the current one; modules imported from them are forgotten."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield here, there
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_a_directory_given_is_searched_before_the_current_one(places):
    here, there = places
    (here / "plugins_a.py").write_text("def make(): return 'here'")
    (there / "plugins_a.py").write_text("def make(): return 'there'")
    assert load("plugins_a:make", there)() == "there"


def test_what_is_imported_later_is_found_beside_the_module(places):
    _, there = places
    (there / "plugins_b.py").write_text("def make():\n    from plugins_c import answer\n    return answer")
    (there / "plugins_c.py").write_text("answer = 42")
    assert load("plugins_b:make", there)() == 42


def test_two_modules_of_one_name_are_not_taken_for_one(places):
    here, there = places
    (here / "plugins_d.py").write_text("def make(): return 'here'")
    (there / "plugins_d.py").write_text("def make(): return 'there'")
    assert load("plugins_d:make")() == "here"
    with pytest.raises(InvalidParameter, match=r"two modules are called 'plugins_d'.*Rename one"):
        load("plugins_d:make", there)
    (there / "plugins_d.py").write_text("def make(): return 'here'")
    assert load("plugins_d:make", there)() == "here"  # a copy is the same


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        (
            "plugins_none:make",
            UnknownTopology,
            "no module 'plugins_none'; expected .*got nothing of that name",
        ),
        ("plugins_e:maek", UnknownTopology, "no function 'maek'. Did you mean plugins_e:make"),
        ("plugins_e:number", UnknownTopology, "no function 'number'"),
        ("plugins_f:make", InvalidParameter, "imports 'plugins_none', which is not installed"),
        ("plugins_g:make", InvalidParameter, "cannot be imported; got ZeroDivisionError"),
    ],
)
def test_what_cannot_be_loaded_is_refused_by_name(places, name, kind, said):
    here, _ = places
    (here / "plugins_e.py").write_text("number = 3\ndef make(): pass")
    (here / "plugins_f.py").write_text("import plugins_none")
    (here / "plugins_g.py").write_text("1 / 0")
    path = list(sys.path)
    with pytest.raises(TopologyError, match=said) as caught:
        load(name)
    assert type(caught.value) is kind
    assert sys.path[: len(path)] == path
