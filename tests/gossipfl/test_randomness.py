"""Tests of finding where randomness comes from."""

import cProfile
import sys
import time
import uuid

import pytest
import torch
from torch import nn

from gossipfl.randomness import clocks_read, own_generators


def test_a_profiler_that_is_at_work_stays_at_work():
    """It cannot be put back, so its place is not taken."""
    profiler = cProfile.Profile()
    profiler.enable()
    try:
        with clocks_read() as found:
            time.time()
        assert sys.getprofile() is profiler
    finally:
        profiler.disable()
    assert not found
    with clocks_read() as found:
        time.time()
    assert found == {"time.time"}


@pytest.mark.parametrize(
    ("module", "found"), [("mine", {"posix.urandom"}), ("torch.fx.made", set()), ("numpy.made", set())]
)
def test_whoever_asks_for_entropy_through_the_standard_library_is_the_one_who_asks(module, found):
    space = {"__name__": module, "uuid": uuid}
    exec("def ask(): return uuid.uuid4()", space)
    with clocks_read() as read:
        space["ask"]()
    assert read == found


def test_a_module_on_a_card_draws_from_the_cards_generator(monkeypatch):
    class OnCuda(nn.Module):
        def parameters(self, recurse=True):
            yield type("Placed", (), {"device": torch.device("cuda:1")})

    generators = torch.Generator(), torch.Generator()
    monkeypatch.setattr(torch.cuda, "default_generators", generators)
    assert own_generators(OnCuda()) == (generators[1],)
    assert own_generators(nn.Linear(2, 2)) == ()
