"""Authors, one a node, and the language models that they share."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from examples.authors import SIZES, perplexity, task
from gossipfl.errors import InvalidTask
from sims.running import run

SCENARIO = Path(__file__).parents[2] / "examples" / "authors.toml"


@pytest.mark.parametrize(
    ("size", "least", "most"), [("0.4M", 0.4e6, 0.5e6), ("1.5M", 1.4e6, 1.6e6), ("0.1M", 0.1e6, 0.13e6)]
)
def test_models_are_as_large_as_they_say(size, least, most):
    made = task(text="", size=size)
    assert least < made.layout.size < most
    assert set(SIZES) == {"0.1M", "0.4M", "1.5M", "tiny"}


@pytest.mark.parametrize("unit", ["characters", "words"])
def test_each_author_owns_windows_of_what_it_wrote(unit):
    made = task(text="", unit=unit, size="tiny", length=32, words=50, authors=3, each=5, kept=2)
    data = made.data()
    assert data.owners.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert len(data.test_inputs) == 6
    assert torch.equal(data.train_inputs[:, 1:], data.train_targets[:, :-1])
    other = task(text="", unit=unit, size="tiny", length=32, words=50, authors=3, each=5, kept=2, seed=1)
    assert not torch.equal(other.initial_row(), made.initial_row())
    own = task(text="", unit=unit, size="tiny", length=32, words=50, author=1, each=5, kept=2).data()
    assert torch.equal(own.train_inputs, data.train_inputs[5:10]) or unit == "words"  # whose vocabulary grows
    outputs = made.model()(data.test_inputs).detach()
    loss = functional.cross_entropy(outputs, data.test_targets)
    assert float(perplexity(outputs, data.test_targets)) == pytest.approx(float(loss.exp()))
    with pytest.raises(InvalidTask, match="wrote too little"):
        task(text="", unit=unit, size="tiny", length=20_000, author=0).data()


def test_authors_learn_together_over_home_links():
    changes = ["population.nodes=3", "evaluate.every=2", "stop.rounds=4", "training.local_steps=2"]
    options = 'task.options={text="",size="tiny",length=32,authors=3,each=8}'
    result = run(SCENARIO, overrides=[*changes, options])
    first, last = result.evaluations.to_dicts()[0], result.evaluations.to_dicts()[-1]
    assert last["loss_mean"] < first["loss_mean"]
    assert 4 * 10 < last["seconds"] < 4 * 10.3
