"""Personal models measured on what their users wrote later."""

import numpy as np
import pytest

from gossipfl.errors import InvalidTask
from gossipfl.keyboard.measured import foreseen, writer_of
from gossipfl.keyboard.shared_words import SharedWords
from gossipfl.tasks import find_task
from gossipfl.tasks.words.next_word import find_vocabulary

SAID = "the old dog ran home. we saw the red fish. "


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "ada.txt").write_text(SAID * 40)
    (tmp_path / "bob.txt").write_text("it was a cold day in the end of may and I was ill. " * 20)
    return str(tmp_path)


def test_later_words_are_foreseen_from_earlier_ones(folder):
    task = find_task("next-word", {"text": folder, "size": "tiny", "words": 500, "user": "ada"})
    vocabulary = find_vocabulary("en", 500)
    shared = SharedWords(task, vocabulary, length=20)
    shared.load(task.initial_row(), 0)
    writer = writer_of(folder, "ada", vocabulary)
    found = foreseen(shared, writer)
    data = task.dataset()
    assert len(found.rank) == int(
        (data.test_targets["following"] >= 0).sum()
    )  # the same words as in the task
    assert found.recall > 0.5  # the shared model knows nothing, and ada says the same again and again
    assert (found.probability > 0).all()
    few = foreseen(shared, writer, most=7)
    assert np.array_equal(few.rank, found.rank[:7])
    other = foreseen(shared, writer_of(folder, 1, vocabulary))
    assert len(other.rank) != len(found.rank)
    with pytest.raises(InvalidTask, match="no user"):
        writer_of(folder, "eve", vocabulary)
