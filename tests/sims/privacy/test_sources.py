"""Linear runs of scenarios, beside the simulations they describe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sims import run as simulate
from sims.compiler.mail import Mail
from sims.compiler.reference import Reference
from sims.compiler.timeline import conditions_of, ticks
from sims.privacy.errors import NotAccountable
from sims.privacy.knowledge import knowledge_of
from sims.privacy.sources import run_of, run_of_scenario
from sims.scenario import load_scenario
from sims.world import build_world
from sims.world.networks import neighbour_lists

_NODES = 10


def _averages(tmp_path: Path, algorithm: str, *more: str) -> Any:
    file = tmp_path / "averages.toml"
    file.write_text(
        f"""
precision = "float64"
[population]
nodes = {_NODES}
[task]
name = "sims.scenarios.averages:averages"
options = {{ nodes = {_NODES} }}
partition = "contiguous"
[topology]
name = "ring"
[algorithm]
name = "{algorithm}"
[training]
enabled = false
[stop]
rounds = 5
""",
        encoding="utf-8",
    )
    return load_scenario(file, overrides=more)


_SESSIONS = (
    "churn.process={kind='sessions', online={distribution='lognormal', median=1.0, spread=0.5}, "
    "offline={distribution='lognormal', median=0.5, spread=0.5}}",
)
_MESSAGES = ("network.loss=0.2", "network.delay.seconds=0.7", "network.jitter=0.3")


@pytest.mark.parametrize(
    ("algorithm", "more"),
    [
        ("d_psgd", ()),
        ("gradient_tracking", ()),
        ("exact_diffusion", ()),
        ("sgp", ()),
        ("d_psgd", ("topology.name=complete",)),
        ("gossip_learning", _MESSAGES),
        ("gossip_learning", (*_MESSAGES, "algorithm.exchange=push-pull")),
        ("gossip_learning", (*_MESSAGES, "algorithm.merge=RW")),
        ("ad_psgd", _MESSAGES),
        ("push_sum", _MESSAGES),
    ],
)
def test_what_nodes_hold_equals_the_simulation(tmp_path: Path, algorithm: str, more: tuple[str, ...]) -> None:
    scenario = _averages(tmp_path, algorithm, *more)
    values = build_world(scenario).first_rows().numpy()
    held = run_of_scenario(scenario).final_state()[:_NODES] @ values
    np.testing.assert_allclose(
        held, simulate(scenario, compile_when="never").rows.numpy(), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize(
    "more",
    [
        (*_MESSAGES, *_SESSIONS),
        ("training.step_seconds=0.9",),
        ("training.step_seconds=0.6", "algorithm.exchange=pull", *_MESSAGES, *_SESSIONS),
        ("training.step_seconds=0.6", "algorithm.exchange=push-pull", *_SESSIONS),
    ],
)
def test_rows_that_observers_see_are_those_that_arrive(tmp_path: Path, more: tuple[str, ...]) -> None:
    """Taken in at once, later, or never, because the receiver has left or the run has ended."""
    scenario = _averages(tmp_path, "gossip_learning", *more)
    world = build_world(scenario)
    indptr, indices = neighbour_lists(scenario, class_counts=world.class_counts)
    reference = _Observed(
        world,
        conditions_of(scenario, indptr=indptr, indices=indices, message_bytes=world.message_bytes),
    )
    reference.run(ticks(scenario.stop.rounds * scenario.network.period))
    run, values = run_of_scenario(scenario), world.first_rows().numpy()
    for node in range(_NODES):
        seen = [row for rows in run.messages([node]) for row in rows @ values]
        np.testing.assert_allclose(seen, reference.arrived[node], rtol=1e-9)
    noisy = run_of_scenario(_averages(tmp_path, "gossip_learning", *more), deviation=0.5)
    assert len(noisy.owners) == len(run.owners) + sum(map(len, reference.arrived))


class _Observed(Reference):
    """Keeps every row that arrives."""

    def begin(self) -> None:
        self.arrived: list[list[Any]] = [[] for _ in range(_NODES)]
        super().begin()

    def delivered(self, node: int, mail: Mail) -> bool:
        arrives = super().delivered(node, mail)
        if arrives:
            self.arrived[node].append(mail.message.shared[0].numpy().copy())
        return arrives


def test_a_directory_of_a_run_is_its_scenario(tmp_path: Path) -> None:
    scenario = _averages(tmp_path, "d_psgd")
    simulate(scenario, out=tmp_path / "run", compile_when="never")
    known = knowledge_of(run_of([str(tmp_path / "run")]), [0])
    assert known.rank == _NODES


def test_each_training_step_is_a_value(tmp_path: Path) -> None:
    file = tmp_path / "digits.toml"
    file.write_text(
        "[population]\nnodes = 6\n[topology]\nname = 'ring'\n[algorithm]\nname = 'd_psgd'\n[training]\n"
        "momentum = 0.9\nlocal_steps = 2\n[stop]\nrounds = 3\n",
        encoding="utf-8",
    )
    run = run_of([str(file)])
    assert np.bincount(run.owners).tolist() == [6] * 6
    losses = knowledge_of(run, [0]).losses()
    assert losses[0] == pytest.approx(6)
    assert 0 < losses[3] < losses[2] < losses[1] <= 6
    by_messages = run_of([str(file)], overrides=["algorithm.name=gossip_learning", "training.momentum=0"])
    assert len(by_messages.owners) > 0


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("algorithm.name=trimmed_mean", "algorithm.hostile=1"), "not linear"),
        (("training.enabled=true", "training.optimiser=adamw"), "not linear in the gradients"),
        (("algorithm.codec=int8",), "not linearly"),
        (("algorithm.name=power_gossip",), "parts of its rows"),
        (("task.name=digits", "task.options={}"), "nothing in it is private|nothing is private"),
    ],
)
def test_what_is_not_linear_is_refused_by_name(tmp_path: Path, more: tuple[str, ...], said: str) -> None:
    if "trimmed_mean" in more[0]:
        more = more[:1]
    with pytest.raises(NotAccountable, match=said):
        run_of_scenario(_averages(tmp_path, "d_psgd", *more))
