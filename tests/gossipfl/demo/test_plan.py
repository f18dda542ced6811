"""Plans of demos, and their summaries."""

import json
import math
import re
from dataclasses import asdict

import pytest
import torch
import typer
from scipy import stats

from gossipfl.cli.demo import app as demo_app
from gossipfl.demo.baselines import baseline, baseline_steps
from gossipfl.demo.comparison import Difference
from gossipfl.demo.plan import KEYBOARD, TOLERANCE_POINTS, DemoPlan
from gossipfl.demo.summary import Summary
from gossipfl.errors import SettingError
from tests.gossipfl.cli.test_main import cli

__all__ = ["cli"]


def settings_of(plan, index=0):
    return plan.settings(index, bootstrap=[], listen="/ip4/127.0.0.1/tcp/0")


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"peers": 1}, "--peers of 2 or more"),
        ({"peers": 4, "kill": 3}, "--kill of 0 … 2"),
        ({"kill": -1}, "--kill"),
        ({"duration": 0.0}, "--duration above 0"),
        ({"duration": float("nan")}, "--duration above 0"),
    ],
)
def test_what_contradicts_itself_is_refused(tmp_path, changes, part):
    with pytest.raises(SettingError, match=re.escape(part)):
        DemoPlan(directory=tmp_path, **changes)


def test_every_peer_has_its_own_data_and_all_the_same_model(tmp_path):
    plan = DemoPlan(directory=tmp_path, peers=4, partition="iid", seed=3)
    each = [settings_of(plan, index) for index in range(4)]
    assert [own.task.options["index"] for own in each] == [0, 1, 2, 3]
    assert [own.runtime.number for own in each] == [0, 1, 2, 3]
    assert {own.task.options["seed"] for own in each} == {own.training.seed for own in each} == {3}


def test_overrides_take_the_place_of_the_recipe(tmp_path):
    plan = DemoPlan(
        directory=tmp_path, overrides={"training": {"momentum": 0.25}, "exchange": {"period": 9.0}}
    )
    own = settings_of(plan)
    assert (own.training.momentum, own.exchange.period) == (0.25, 9.0)
    assert own.training.decay_age == settings_of(DemoPlan(directory=tmp_path)).training.decay_age


def test_the_help_shows_what_the_demo_uses(tmp_path):
    command = typer.main.get_command(demo_app)
    own = settings_of(DemoPlan(directory=tmp_path, overrides={}))
    shown = 0
    for option in command.params:
        table, _, key = option.name.partition("__")
        default = re.search(r"\(default: (.*)\)$", option.help or "") if key else None
        if default is not None:
            assert default[1] == str(getattr(getattr(own, table), key)), option.name
            shown += 1
    assert shown > 30


def test_each_peer_of_a_keyboards_demo_has_an_author(tmp_path):
    plan = DemoPlan(directory=tmp_path, task="next-word", text="bible", peers=10)
    options = [plan.task_options(index) for index in range(10)]
    assert [each["user"] for each in options] == list(range(10))
    assert {each["text"] for each in options} == {"bible"}
    assert settings_of(plan).training.optimiser == "adamw"


def test_what_the_demo_sets_itself_has_no_flag(cli, tmp_path):
    for flag in ("network-listen", "network-bootstrap", "network-announce", "network-allow", "training-seed"):
        code, _, err = cli("demo", "--out", tmp_path / "out", f"--{flag}", "1")
        assert code == 2
        assert "No such option" in err
        assert flag in err


def test_alone_is_far_below_pooled(tmp_path):
    """The premise of the demo: with two label shards each, nobody can do it alone."""
    plan = DemoPlan(directory=tmp_path)
    training = settings_of(plan).training.model_copy(update={"decay_age": 120})
    alone, pooled = (baseline(plan, training, "accuracy", kind) for kind in ("alone", "pooled"))
    assert len(alone) == 8
    assert max(alone) < 0.6
    assert len(set(pooled)) == 1  # their test samples are common
    assert pooled[0] > 0.94
    assert torch.is_grad_enabled()


def test_within_the_tolerance_means_the_worst_peer():
    assert Summary.has_converged([0.95, 0.94], [0.96, 0.96])
    assert Summary.has_converged([0.94, 0.2], [0.96, 0.21])
    assert not Summary.has_converged([0.99, 0.939], [0.96, 0.96])
    assert not Summary.has_converged([], [])
    assert TOLERANCE_POINTS == 2.0  # what the README promises


@pytest.mark.parametrize(
    ("pooled", "gossip", "alone", "converged"),
    [
        ([0.27, 0.21, 0.30], [0.265, 0.205, 0.294], [0.24, 0.18, 0.27], True),
        ([0.27, 0.21, 0.30], [0.265, 0.205, 0.294], [0.27, 0.21, 0.29], False),  # not above lone training
        ([0.27, 0.21, 0.30], [0.24, 0.18, 0.27], [0.2, 0.1, 0.2], False),  # three points below pooled
        ([0.27, 0.21, 0.30], [0.29, 0.17, 0.31], [0.2, 0.1, 0.2], False),  # nobody knows
    ],
)
def test_keyboards_have_converged_if_their_mean_is_close_for_sure(pooled, gossip, alone, converged):
    gap, gain = Difference.of(pooled, gossip), Difference.of(gossip, alone)
    assert Summary.have_converged_on_average(gap, gain) is converged


def test_an_interval_is_students():
    values = [0.5, 1.1, 0.2, 0.9, 0.4]
    low, high = stats.ttest_1samp([100 * value for value in values], 0).confidence_interval(0.95)
    found = Difference.of(values, [0.0] * 5)
    assert (found.mean - found.reach, found.upper) == pytest.approx((low, high))
    assert Difference.of([0.1], [0.2]).upper == math.inf


def test_every_key_of_the_summary_is_documented():
    documented = set()
    for line in Summary.__doc__.splitlines():
        if re.fullmatch(r"    \S.*", line) and not line.strip().startswith("-"):
            documented |= set(re.split(r",\s*", line.partition(" : ")[0].strip()))
    assert set(Summary.__dataclass_fields__) <= documented


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--peers", "1"], ["--peers of 2 or more"]),
        (["--partition", "shard:2"], ["unknown partition", "Did you mean 'shards'?"]),
        (["--task", "digit"], ["no bundled task 'digit'", "Did you mean 'digits'?"]),
        (["--training-learning-rate", "-1"], ["training.learning_rate"]),
    ],
)
def test_a_wrong_demo_is_named_and_starts_nothing(cli, tmp_path, arguments, parts):
    code, out, err = cli("demo", "--out", tmp_path / "out", "--json", *arguments)
    assert (code, out) == (2, "")
    assert all(part in err for part in parts), err
    assert not list(tmp_path.rglob("status.json"))


def test_a_demo_of_more_peers_than_authors_is_named_and_starts_nothing(cli, tmp_path):
    pytest.importorskip("wordfreq")
    texts = tmp_path / "texts"
    texts.mkdir()
    for author in ("ada", "ben"):
        (texts / f"{author}.txt").write_text("See you tomorrow. Good night. " * 40)
    code, out, err = cli(
        "demo", "keyboard", "--text", texts, "--peers", "3", "--out", tmp_path / "out", "--json"
    )
    assert (code, out) == (2, "")
    assert "expected one for each of 3 peers; got 2. Start fewer: --peers 2." in " ".join(err.split()), err
    assert not list(tmp_path.rglob("status.json"))


def test_the_summary_is_json(tmp_path):
    values = {
        name: {"bool": True, "str": "x"}.get(str(field.type), 1.5)
        for name, field in Summary.__dataclass_fields__.items()
    }
    assert json.loads(json.dumps(asdict(Summary(**values)))) == values


def test_keyboards_are_compared_with_training_at_smaller_steps(tmp_path):
    for task, share in (("digits", 1.0), (KEYBOARD, 0.3)):
        plan = DemoPlan(directory=tmp_path, task=task, overrides={"training": {"learning_rate": 0.05}})
        peers = plan.settings(0, bootstrap=[], listen="/ip4/127.0.0.1/tcp/0").training
        assert peers.learning_rate == 0.05
        assert plan.baseline_training(peers).learning_rate == pytest.approx(share * 0.05)
        assert baseline_steps(plan, peers) == {"digits": (450, 1350), KEYBOARD: (300, 1800)}[task]
