"""Windows arranged as waves and blocks: all that can be said of them before models are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sims.compiler.timeline import Window
from sims.compiler.waves import Waves, compile_waves
from sims.engine.blocks import Blocks, cut, wave_width
from sims.engine.groups import Groups
from sims.engine.workers import Paces

__all__ = ["Arranged", "Arranger"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arranged:
    """A window, arranged.

    Parameters
    ----------
    window : Window
        As it was drawn; drawing the next one overwrites its arrays.
    waves : Waves
    blocks : Blocks
    trainings : ndarray
        Trainings of each node in it, int64 ``[N]``.
    span : tuple of int
        When its first and last operations are, ticks.
    width : int
        Most updates of a group in a wave.
    """

    window: Window
    waves: Waves
    blocks: Blocks
    trainings: NDArray[np.int64]
    span: tuple[int, int]
    width: int


class Arranger:
    """Arranges windows. It reads nothing of models, so it may do so while these change.

    Parameters
    ----------
    groups : Groups
    nodes : int
    block : int
        Rows in a block.
    threads : int
        Threads that share every wave.
    """

    def __init__(self, groups: Groups, *, nodes: int, block: int, threads: int) -> None:
        self._groups, self._nodes, self._block = groups, nodes, block
        alone, shared = (wave_width(nodes=nodes, block=block, threads=count) for count in (1, threads))
        self._widths = (alone, shared) if alone < block * threads else (shared,)
        self._paces: dict[int, Paces[int]] = {}

    def __call__(self, window: Window, *, measured: bool) -> Arranged:
        """Arrange a window; ``measured`` if waves are to be as wide as has turned out best (`learn`)."""
        width = self._paces_of(len(window)).choose(self._widths) if measured else self._widths[0]
        groups, n = self._groups, self._nodes
        waves = compile_waves(
            window, groups.of, capacity=width, number_of_groups=len(groups.all), training=groups.training
        )
        return Arranged(
            window=window,
            waves=waves,
            blocks=cut(waves, size=self._block, n=n),
            trainings=np.bincount(window.node[window.kind == groups.training], minlength=n),
            span=window.span,
            width=width,
        )

    def learn(self, arranged: Arranged, seconds: float) -> None:
        """Learn how many seconds it took to carry out a window."""
        self._paces_of(len(arranged.window)).learn(arranged.width, seconds / max(1, len(arranged.waves.node)))

    def _paces_of(self, operations: int) -> Paces[int]:
        return self._paces.setdefault(operations.bit_length(), Paces())
