"""Codecs on a card, where rows are compressed all at once, beside the CPU's way of parts that fit its cache."""

import pytest
import torch

from gossipfl.codecs import codec, exchange_keys
from gossipfl.codecs.chosen import largest
from gossipfl.codecs.draws import scores
from tests.fake_card import fake_card

NAMES = ["bfloat16", "int8", "fp4", "qsgd:7", "sign", "top:0.2", "chunk-top:8:64", "random:0.1"]


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_compressed_to_the_same_on_a_card(name):
    rows = torch.randn(9, 700, generator=torch.Generator().manual_seed(1))
    keys = exchange_keys(torch.arange(9), seed=1, round_number=2)
    expected = codec(name).compress(rows, keys=keys)
    with fake_card():
        found = codec(name).compress(rows.to("meta"), keys=keys.to("meta"))
    torch.testing.assert_close(found.held, expected)


def test_draws_and_the_largest_are_the_same_on_a_card():
    keys = torch.arange(5) * 12_345
    numbers = torch.randn(4, 900, generator=torch.Generator().manual_seed(1))
    with fake_card():
        drawn, chosen = scores(keys.to("meta"), 300_000), largest(numbers.to("meta"), 200)
    assert torch.equal(drawn.held, scores(keys, 300_000))
    assert torch.equal(chosen.held, largest(numbers, 200))
