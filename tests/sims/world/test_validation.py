"""Measuring on held-out training samples, and runs that others can bring to rest."""

import pytest
import torch

import sims
from sims.errors import InvalidScenario
from sims.world import build_world
from tests.sims.worlds import small


def test_held_out_samples_are_measured_on_and_never_trained_on():
    whole, held = build_world(small()), build_world(small("evaluate.validation=0.25"))
    trained = held.trainer.data.inputs
    assert (len(whole.trainer.data.inputs), len(trained), len(held.test_inputs)) == (240, 180, 60)
    together = torch.cat([trained, held.test_inputs])
    assert together.unique(dim=0).equal(whole.trainer.data.inputs.unique(dim=0))
    assert len(set(held.trainer.data.indices.tolist())) == 180
    other = build_world(small("evaluate.validation=0.25", "seed=4"))
    assert not other.test_inputs.equal(held.test_inputs)


def test_a_share_that_leaves_nothing_is_refused():
    with pytest.raises(InvalidScenario, match=r"evaluate\.validation.*0\.001 of 240"):
        build_world(small("evaluate.validation=0.001"))


def test_a_run_that_is_asked_to_stop_comes_to_rest_and_resumes(tmp_path):
    scenario = small("stop.rounds=12", "evaluate.every=4")
    asked = iter([False, True])
    part = sims.run(scenario, out=tmp_path, compile_when="never", interrupted=lambda: next(asked))
    assert not part.finished
    again = sims.run(None, out=tmp_path, resume=True, compile_when="never")
    whole = sims.run(scenario, compile_when="never")
    assert again.finished
    assert again.rows.equal(whole.rows)
    assert again.evaluations.equals(whole.evaluations)
