"""Libraries of extras: whoever lacks one is told which, and how to install it."""

import sys

import pytest

from gossipfl.errors import SettingError
from gossipfl.extras import is_installed, require_extra


def test_all_that_are_missing_are_named_with_the_extra_that_has_them():
    require_extra("page", ["json", "trio"], what="a page")
    with pytest.raises(SettingError) as caught:
        require_extra("page", ["no_such_one", "json", "nor_this"], what="a page")
    assert "a page needs no-such-one and nor-this, which is not installed" in str(caught.value)
    assert "pip install 'gossipfl[page]'" in str(caught.value)


def test_a_library_that_was_hidden_is_not_installed(monkeypatch):
    assert is_installed("torch")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert not is_installed("torch")
