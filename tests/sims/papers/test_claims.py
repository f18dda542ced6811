"""Published results: a quick version of each here, the whole of each by `make papers`."""

import polars as pl
import pytest

from gossipfl.errors import InvalidTask
from sims.papers import CLAIMS, reproduce
from sims.papers.claim import at_round, rounds_below
from sims.papers.page import page

# Quick tests of their kind: engine/test_bias_corrected.py and test_papers.py (spambase); of learning over changing
# graphs, the claim about quasi-global momentum and epidemic learning's own tests.
SLOW = {"bias-correction", "dumbbell", "epidemic-pendigits", "spambase"}


@pytest.mark.parametrize(
    "claim",
    [pytest.param(each, marks=[pytest.mark.slow] if each.name in SLOW else []) for each in CLAIMS],
    ids=lambda claim: claim.name,
)
def test_quick_version_is_reproduced(claim):
    try:
        finding = reproduce(claim, quick=True)
    except InvalidTask as error:
        if "could not be fetched" in str(error):
            pytest.skip(f"no package index: {error}")
        raise
    assert finding.comparisons
    missed = [c for c in finding.comparisons if c.reproduced is False]
    assert not missed
    assert [statement for statement, holds in finding.gates if not holds] == []
    text = page([finding])
    assert claim.title in text
    assert "**no**" not in text


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_every_figure_belongs_to_a_variant_of_the_sweep(claim):
    labels = {variant["label"] for variant in claim.sweep().variant}
    assert {figure.variant for figure in claim.figures} <= labels
    assert set(claim.quick.variants) <= labels


def test_measures():
    curves = pl.DataFrame({"round": [0.0, 1.0, 2.0, 3.0], "d": [8.0, 4.0, 0.5, 0.1]})
    assert at_round("d", 2, scale=10)(curves) == 5
    assert at_round("d", 2, complement=True)(curves) == 0.5
    assert rounds_below("d", 0.5)(curves) == 2
    assert rounds_below("d", 1e-9)(curves) != rounds_below("d", 1e-9)(curves)
