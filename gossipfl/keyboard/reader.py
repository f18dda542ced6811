"""A keyboard's suggestions from an exported model: needs numpy and onnxruntime alone, and is copied beside it.

``python suggest.py "I will be"`` prints three words.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

try:
    from normalise import LINK, NUMBER, lowered, sentences  # type: ignore[import-not-found]  # beside this file
except ImportError:
    from gossipfl.tasks.words.normalise import LINK, NUMBER, lowered, sentences

__all__ = ["Keyboard"]

_SPECIAL = ("<pad>", "<start>", "<unknown>", NUMBER, LINK)
_START, _UNKNOWN = 1, 2
_MOST_WORDS = 20  # of context, as in training


class Keyboard:
    """An exported model.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self.words = (*_SPECIAL, *(folder / "words.txt").read_text(encoding="utf-8").split())
        self._numbers = {word: number for number, word in enumerate(self.words) if number > _UNKNOWN}
        self._start = {
            each.name: np.zeros(each.shape, dtype=np.float32) for each in self._session.get_inputs()[1:]
        }

    def scores(self, numbers: Iterable[int]) -> NDArray[np.float32]:
        """Scores of all words ``[words]`` after some, by their numbers."""
        state = self._start
        scores = np.zeros((1, len(self.words)), dtype=np.float32)
        for number in numbers:
            given = {"word": np.array([number], dtype=np.int64), **state}
            scores, output, cell = self._session.run(["scores", "next_output", "next_cell"], given)
            state = {"output": output, "cell": cell}
        found: NDArray[np.float32] = scores[0]
        return found

    def context(self, text: str) -> list[int]:
        """Numbers of the last words of a text, each sentence behind a start."""
        said: Sequence[Sequence[str]] = sentences(text)
        if not said or text.rstrip().endswith((".", "!", "?")):
            said = [*said, []]
        numbers = [
            number
            for sentence in said
            for number in (_START, *(self._numbers.get(lowered(word), _UNKNOWN) for word in sentence))
        ]
        return numbers[-_MOST_WORDS:]

    def suggest(self, text: str) -> list[str]:
        """Three words that may follow a text, the likeliest first."""
        numbers = self.context(text)
        scores = self.scores(numbers)
        scores[: len(_SPECIAL)] = -np.inf
        best = [self.words[place] for place in np.argsort(-scores, kind="stable")[:3]]
        starts = numbers[-1] == _START
        return [word.capitalize() if starts or word.split("'")[0] == "i" else word for word in best]


if __name__ == "__main__":
    for suggestion in Keyboard(Path(__file__).parent).suggest(" ".join(sys.argv[1:])):
        sys.stdout.write(f"{suggestion}\n")
