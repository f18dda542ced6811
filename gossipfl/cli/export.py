"""``gossipfl export``: a peer's model as a file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from gossipfl.cli.options import FineTuneOption, HomeOption, JsonOption, SharedOption, tell

__all__ = ["app"]

app = typer.Typer(
    help="Write a peer's model to a file.", add_completion=False, pretty_exceptions_enable=False
)


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help="File to write, or folder; an existing one is replaced.")],
    *,
    home: HomeOption,
    form: Annotated[
        Literal["safetensors", "onnx", "torch-export", "keyboard"],
        typer.Option(
            "--format",
            help="Named tensors (safetensors), or the computation too (onnx, torch-export); of next-word a folder "
            "with 8-bit weights, words and a reader (keyboard).",
        ),
    ] = "safetensors",
    shared: SharedOption = False,
    fine_tune: FineTuneOption = None,
    json_output: JsonOption = False,
) -> None:
    """Write the model of a peer's last checkpoint to a file; the peer may be running."""
    from gossipfl.errors import SettingError
    from gossipfl.peer.saved_model import export_keyboard, export_model
    from gossipfl.peer.store.home import Home

    place = Home(home)
    if form == "keyboard":
        if fine_tune:
            raise SettingError("a keyboard is exported as it is shared", got="--fine-tune")
        age = export_keyboard(place, out)
    else:
        age = export_model(place, out, form=form, shared=shared, fine_tune=fine_tune)
    said = f"The model of age {age} is in {out}, as {form}."
    tell({"file": str(out), "format": form, "age": age}, [said], as_json=json_output)
