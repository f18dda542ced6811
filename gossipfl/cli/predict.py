"""``gossipfl predict``: outputs of a peer's model for inputs from a file."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gossipfl.cli.options import FineTuneOption, HomeOption, JsonOption, SharedOption

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["app"]

app = typer.Typer(
    help="Compute a peer's model on inputs from a file.",
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def predict(
    inputs: Annotated[
        str,
        typer.Argument(
            help="A .npy file of samples, or a file of comma-separated values, or - for such lines."
        ),
    ],
    *,
    home: HomeOption,
    shared: SharedOption = False,
    fine_tune: FineTuneOption = None,
    json_output: JsonOption = False,
) -> None:
    """Print the outputs of the model of a peer's last checkpoint, a line for each sample.

    The peer may be running. A line has the outputs; the place of the largest of several numbers, which is the
    class of a classifier, comes first.
    """
    from gossipfl.peer.saved_model import predicted, saved_model, task_of_home
    from gossipfl.peer.store.home import Home

    place = Home(home)
    task = task_of_home(place)
    module, age = saved_model(place, task, shared=shared, fine_tune=fine_tune)
    for values in predicted(module, _read(inputs)):
        outputs: Any = values.tolist()
        several = values.dim() == 1 and len(values) > 1
        if json_output:
            largest = {"largest": int(values.argmax())} if several else {}
            typer.echo(json.dumps({"age": age, **largest, "outputs": outputs}))
        elif several:
            typer.echo(f"{int(values.argmax())}  {' '.join(f'{each:.4g}' for each in outputs)}")
        else:
            typer.echo(json.dumps(outputs))


def _read(source: str) -> Tensor:
    """Read a batch of samples; numbers with fractions become float32.

    Raises
    ------
    SettingError
        There is no such file, or it has no numbers.
    """
    import numpy as np
    import torch

    from gossipfl.errors import SettingError
    from topology.arrays import load_npy

    try:
        if source.endswith(".npy"):
            values = load_npy(Path(source))
        else:
            with warnings.catch_warnings(action="ignore"):  # of empty inputs, which are refused below
                values = np.loadtxt(
                    sys.stdin if source == "-" else source, delimiter=",", ndmin=2, dtype=np.float32
                )
        if values.dtype.kind == "f":
            values = values.astype(np.float32)
        read, failure = torch.from_numpy(values), None if values.size else "no numbers"
    except (OSError, EOFError, TypeError, ValueError) as error:
        failure = str(error)
    if failure is not None:
        raise SettingError(
            f"the inputs {source} cannot be read",
            expected="a .npy file of numbers, or lines of numbers with commas between them",
            got=failure,
        )
    return read
