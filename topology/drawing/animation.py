"""A sequence in action as a GIF: the value of each node, and its composition from initial models."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from topology.catalogue import NamedTopology
from topology.drawing.layouts import layout
from topology.drawing.networks import draw_round
from topology.drawing.style import INK, MUTED, new_figure, styled
from topology.errors import InvalidParameter, TooLarge

__all__ = ["animate_mixing"]

_NODES = 256


def animate_mixing(named: NamedTopology, path: Path, *, rounds: int, frames_per_second: float = 1.5) -> None:
    """Write a GIF of the network, its nodes coloured by value, beside the heat map of W_t … W_1.

    Half the nodes begin at −1 and half at +1, those of one half side by side. Row i of the heat map is what
    node i's value is made of; it begins as the identity, and consensus is when all of it has one colour.

    Parameters
    ----------
    named : NamedTopology
        Of at most 256 nodes.
    path : Path
        Ends in ``.gif``.
    rounds : int
        At least 1.
    frames_per_second : float

    Raises
    ------
    TooLarge
        If there are more nodes than the picture could show.
    InvalidParameter
        If `rounds` is below 1 or the file is not a GIF.
    """
    from PIL import Image

    sequence = named.sequence
    if sequence.n > _NODES:
        raise TooLarge("too many nodes to animate", expected=f"n ≤ {_NODES}", got=sequence.n)
    if rounds < 1 or path.suffix.lower() != ".gif":
        raise InvalidParameter("cannot animate", expected="rounds ≥ 1 and a .gif", got=(rounds, path.name))
    positions = layout(named)
    P = np.eye(sequence.n)
    frames = [_frame(named, 0, P, positions)]
    for t in range(rounds):
        P = sequence.matrix(t) @ P
        frames.append(_frame(named, t + 1, P, positions))
    images = [Image.fromarray(frame).quantize(64, dither=Image.Dither.NONE) for frame in frames]
    wait = int(1000 / frames_per_second)
    images[0].save(
        path,
        save_all=True,
        append_images=images[1:],
        duration=[wait] * (len(images) - 1) + [3 * wait],
        loop=0,
        optimize=True,
    )


def _frame(
    named: NamedTopology, done: int, P: np.ndarray, positions: np.ndarray
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """One picture, after `done` rounds."""
    n = len(P)
    values = P @ np.where(np.arange(n) < n / 2, -1.0, 1.0)
    distance = float(((P - P.mean(axis=0)) ** 2).sum() / n)
    with styled():
        figure = new_figure(6.6, 3.5)
        left, right = figure.subplots(1, 2)
        draw_round(left, named, max(done - 1, 0), positions, values=values, links=done > 0)
        left.set_title("before" if done == 0 else f"round {done}", color=INK)
        # Roots, because most of a row's weight is small long before consensus.
        right.imshow(np.sqrt(P), cmap="magma", vmin=0, vmax=1, interpolation="nearest")
        told = "exact consensus" if distance < 1e-20 else f"consensus distance {distance:.2g}"
        right.set_title(told, color=INK)
        right.set_xlabel("is made of the values of these nodes", color=MUTED)
        right.set_ylabel("the value of each node", color=MUTED)
        right.set(xticks=[], yticks=[])
        figure.suptitle(named.name, fontsize=10, color=MUTED)
        figure.canvas.draw()
        picture = np.asarray(figure.canvas.buffer_rgba())  # type: ignore[attr-defined]
    return picture[:, :, :3].copy()
