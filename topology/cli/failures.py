"""Errors of commands: one clear message and exit code 2, never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import typer

from topology.errors import TopologyError

__all__ = ["reports_errors"]

_Parameters = ParamSpec("_Parameters")
_EXTRA = frozenset({"scipy", "networkx", "matplotlib", "PIL", "cvxpy", "topohub"})


def reports_errors(command: Callable[_Parameters, None]) -> Callable[_Parameters, None]:
    """Let `command` end with a message on standard error and exit code 2 if it raises one of our errors."""

    @wraps(command)
    def guarded(*arguments: _Parameters.args, **options: _Parameters.kwargs) -> None:
        try:
            command(*arguments, **options)
        except TopologyError as error:
            _stop(str(error))
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in _EXTRA:
                raise
            _stop(f"{error.name} is not installed. Install gossipfl[topology]")
        except MemoryError as error:
            _stop(f"there is not enough memory for this: {error}")
        except OSError as error:
            _stop(f"{error.filename or 'file'}: {error.strerror or error}")

    return guarded


def _stop(message: str) -> None:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(2)
