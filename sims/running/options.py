"""Options of runs and sweeps that are the machine's rather than the scenario's, as Python gives them."""

from __future__ import annotations

from typing import get_args

from gossipfl.errors import SettingError
from sims.engine.programme import Compile
from topology.spelling import did_you_mean

__all__ = ["require_options"]


def require_options(threads: object, compile_when: object) -> None:
    """Refuse by name what neither flags nor types would let pass.

    Parameters
    ----------
    threads
        Cores to use.
    compile_when
        Whether to compile.

    Raises
    ------
    SettingError
    """
    if not isinstance(threads, int) or isinstance(threads, bool) or threads < 1:
        raise SettingError("threads are cores to use", expected="a whole number from 1 on", got=repr(threads))
    if compile_when not in (choices := get_args(Compile)):
        raise SettingError(
            "compile_when says when to compile",
            expected=f"one of {', '.join(choices)}",
            got=repr(compile_when),
            remedy=did_you_mean(str(compile_when), choices),
        )
