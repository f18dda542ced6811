"""The bundled task next-word."""

import random

import numpy as np
import pytest
import torch

from gossipfl.errors import InvalidTask
from gossipfl.settings import TrainingSettings
from gossipfl.tasks import Dataset, find_task
from gossipfl.tasks.registry import options_beside
from gossipfl.tasks.words.corpora import CORPORA
from gossipfl.tasks.words.next_word import users_with_most
from gossipfl.training import NodeData, Nodes, Trainer

LEXICON = [
    "the",
    "cat",
    "saw",
    "a",
    "dog",
    "and",
    "it",
    "ran",
    "home",
    "to",
    "eat",
    "red",
    "fish",
    "with",
    "us",
]


def write_users(place, count=4):
    """Users who say each word after the one before it, mostly, and some other words."""
    for user in range(count):
        voice = random.Random(user)
        said = []
        for _ in range(40 + 10 * user):
            start = voice.randrange(len(LEXICON))
            run = [LEXICON[(start + step) % len(LEXICON)] for step in range(7)]
            said.append(" ".join([*run, "zyx" if voice.random() < 0.3 else "2"]).capitalize() + ".")
        (place / f"user{user}.txt").write_text("\n".join(said))
    return str(place)


@pytest.fixture
def options(tmp_path):
    return {"text": write_users(tmp_path), "size": "tiny", "words": 200, "length": 8}


@pytest.mark.parametrize("cell", ["cifg", "gru", "transformer"])
def test_rows_together_learn_as_each_alone(options, cell, caplog):
    task = find_task("next-word", {**options, "cell": cell})
    data = task.dataset()
    parts = [np.flatnonzero(data.owners.numpy() == user) for user in range(4)]
    settings = TrainingSettings(learning_rate=1.0, batch_size=8)
    rows = torch.stack([task.initial_row(0)] * 4)

    def trained(parts, rows, numbers):
        nodes = NodeData.partitioned(data.train_inputs, data.train_targets, parts, numbers=numbers)
        trainer = Trainer.of(task, nodes, settings)
        state = Nodes.start(rows, optimiser_state_size=trainer.optimiser_state_size)
        for _ in range(3):
            state, _ = trainer.train(state, np.arange(len(parts)))
        return state.rows

    together = trained(parts, rows, np.arange(4))
    assert not [record for record in caplog.records if "row by row" in record.message]
    for user, part in enumerate(parts):
        alone = trained([part], rows[user : user + 1], np.array([user]))
        torch.testing.assert_close(together[user : user + 1], alone, rtol=1e-4, atol=1e-5)


def test_words_that_follow_one_another_are_learned(options):
    task = find_task("next-word", {**options, "user": "user3"})
    data = task.dataset()
    trainer = Trainer.of(
        task,
        NodeData.of_one_node(data.train_inputs, data.train_targets),
        TrainingSettings(learning_rate=0.01, batch_size=16, optimiser="adamw"),
    )
    state = Nodes.start(task.initial_row()[None], optimiser_state_size=trainer.optimiser_state_size)
    for _ in range(150):
        state, _ = trainer.train(state, np.array([0]))
    found = task.evaluate(state.rows, data.test_inputs, data.test_targets)
    before = task.evaluate(task.initial_row()[None], data.test_inputs, data.test_targets)
    assert before["recall"] < 0.2
    assert found["recall"] > 0.6
    assert found["recall"] <= found["recall3"]
    assert found["recall"] == found["user_recall"] == found["worst_recall"]
    assert found["perplexity"] < before["perplexity"] / 3


def test_peers_with_other_vocabularies_or_models_do_not_learn_together(options):
    kinds = [{}, {"words": 201}, {"cell": "gru"}, {"size": "small"}, {"seed": 1}]
    digests = {find_task("next-word", {**options, **kind}).fingerprint for kind in kinds}
    assert len(digests) == len(kinds)
    own = [find_task("next-word", {**options, "user": user}).fingerprint for user in (0, "user1")]
    assert own[0] == own[1] in digests


def test_limits_keep_what_a_user_wrote_last(options):
    whole = find_task("next-word", {**options, "user": 0}).dataset()
    few = find_task("next-word", {**options, "user": 0, "most": 3, "most_tested": 2}).dataset()
    assert (few.samples, len(few.test_targets["user"])) == (3, 2)
    assert torch.equal(few.train_inputs["words"], whole.train_inputs["words"][-3:])
    assert torch.equal(few.test_inputs["words"], whole.test_inputs["words"][:2])
    two = find_task("next-word", {**options, "users": 2}).dataset()
    assert set(two.owners.tolist()) == {0, 1}


def test_a_number_that_is_no_place_is_a_name():
    texts = {"ada": ["a"], "491701": ["b"], "1": ["a longer text"]}
    assert users_with_most(texts, user=491701) == ["491701"]
    assert users_with_most(texts, user=1) == ["ada"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": "smal"}, "no size 'smal'.*Did you mean 'small'"),
        ({"cell": "lstm"}, "no cell 'lstm'"),
        ({"length": 0}, "cannot have 0 words"),
        ({"words": "many"}, "words of next-word is 'many'"),
        ({"most": 1.5}, "most of next-word is 1.5"),
        ({"text": 5}, "text of next-word is 5"),
        ({"user": 1.5}, "user of next-word is 1.5"),
        ({"user": True}, "user of next-word is True"),
        ({"tested": "half"}, "tested of next-word is 'half'"),
        ({"repeats": -1}, "a limit of next-word is negative"),
        ({"tested": 1.0}, "no share of 1.0 can be tested"),
        ({"most": -1}, "limit of next-word is negative"),
        ({"vocabulary": "text", "user": 0}, "cannot know the words of all users"),
        ({"vocabulary": "./none.txt"}, "vocabulary .* cannot be read"),
        ({"text": "stou"}, "no text 'stou'.*Did you mean 'sotu'"),
        ({"text": "./none"}, "there is no folder"),
        ({"text": "typed"}, "Only a keyboard begins with what is typed"),
        ({"lenght": 20}, "unexpected keyword argument 'lenght'. Did you mean 'length'"),
        ({"user": "bob"}, "no user 'bob'; expected one of 4"),
        ({"user": 4}, "no user 4; expected 0 … 3, or one of 4 names"),
    ],
)
def test_wrong_options_are_named(options, wrong, message):
    with pytest.raises(InvalidTask, match=message):
        find_task("next-word", {**options, **wrong}).dataset()


def test_owners_that_fit_no_samples_are_refused():
    samples = {
        "train_inputs": torch.zeros(3, 2),
        "train_targets": torch.zeros(3, dtype=torch.int64),
        "test_inputs": torch.zeros(3, 2),
        "test_targets": torch.zeros(3, dtype=torch.int64),
    }
    assert Dataset(**samples, owners=torch.tensor([0, 1, 1])).first(2).owners.tolist() == [0, 1]
    for wrong in ([0, 1], [0, 1, -1], [0.0, 1.0, 1.0]):
        with pytest.raises(InvalidTask, match="owners of the training samples"):
            Dataset(**samples, owners=torch.tensor(wrong))
    with pytest.raises(InvalidTask, match=r"got ndarray\. Make one with torch\.as_tensor"):
        Dataset(**samples, owners=torch.tensor([0, 1, 1]).numpy())


@pytest.mark.slow
@pytest.mark.parametrize(("name", "users", "first"), [("sotu", 45, "fellow"), ("bible", 66, "in")])
def test_corpora_are_fetched(name, users, first):
    texts = CORPORA[name]().of_user
    assert len(texts) == users
    user = {"sotu": "washington", "bible": "Genesis"}[name]
    assert texts[user][0].lower().startswith(first)


@pytest.mark.slow
def test_roles_are_users():
    texts = CORPORA["shakespeare"]().of_user
    assert len(texts) == 1334
    assert texts["lear/kent"][0].startswith("I thought the King had more affected")
    assert not any("[" in speech for speech in texts["lear/kent"])


def test_texts_and_vocabularies_are_found_from_anywhere_and_names_stay_names(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("me.txt", "words.txt"):
        (tmp_path / name).write_text("words")
    given = {"text": "me.txt", "vocabulary": "~/words.txt", "size": "tiny"}
    found = options_beside("next-word", given, directory=None, beside=tmp_path)
    assert found == {**given, "text": f"{tmp_path}/me.txt", "vocabulary": f"{tmp_path}/words.txt"}
    names = {"text": "sotu", "vocabulary": "en"}
    assert options_beside("next-word", names, directory=None, beside=tmp_path) == names
