"""Job arrays of ``gossipfl sim sweep``: the script of one, and what an index of it does."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from topology.text import printable

if TYPE_CHECKING:
    from sims.engine.programme import Compile
    from sims.sweeping import SweepProgress
    from sims.sweeping.parts import PartResult

__all__ = ["do_parts", "hand_over", "script_text"]

_CHOSEN = re.compile(r"(?P<first>\d{1,9})(-(?P<last>\d{1,9}))?")


def do_parts(
    file: str | None,
    out: Path | None,
    chosen: str,
    *,
    threads: int,
    device: str,
    compile_when: Compile,
    callbacks: Sequence[str] = (),
) -> int:
    """Do parts of the sweep in a directory, one after another; return an exit code as of a whole sweep.

    Parameters
    ----------
    chosen : str
        ``K``, or ``K-L``, of which L may be beyond the last.

    Raises
    ------
    InvalidSweep
        If a sweep is given, or no directory; or ``chosen`` is something else.
    """
    from sims.errors import InvalidSweep
    from sims.sweeping import parts
    from sims.sweeping.directory import saved_sweep

    if file is not None or out is None:
        raise InvalidSweep(
            "a part is one of the sweep in a directory",
            remedy="Give --out alone, of a directory made by --script.",
        )
    found = _CHOSEN.fullmatch(chosen)
    first, last = (int(found["first"]), int(found["last"] or found["first"])) if found else (0, 0)
    if not 1 <= first <= last:
        raise InvalidSweep("--part is not understood", expected="K, or K-L, from 1", got=chosen)
    numbers = [first]
    if last > first:
        numbers = list(range(first, min(last, len(parts.parts_of(saved_sweep(out)))) + 1)) or [first]

    def do(number: int) -> PartResult:
        return parts.do_part(
            out, number, threads=threads, device=device, compile_when=compile_when, callbacks=callbacks
        )

    # Whoever cancels a job, or takes its place, sends SIGTERM: there is time for a checkpoint.
    before = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        return _one_by_one(numbers, do)
    finally:
        signal.signal(signal.SIGTERM, before)


def _one_by_one(numbers: Sequence[int], do: Callable[[int], PartResult]) -> int:
    """Do parts until one is interrupted; return the largest exit code."""
    from sims.errors import SweepDirectoryError

    codes = []
    for number in numbers:
        try:
            result = do(number)
        except SweepDirectoryError as error:  # as where another process does it
            if len(numbers) == 1:
                raise
            typer.echo(f"Part {number} was not done: {error}")
            codes.append(1)
            continue
        codes.append(_said(result))
        if not result.finished:
            break
    return max(codes)


def _said(result: PartResult) -> int:
    """Say how a part ended, and return its exit code."""
    typer.echo(f"{printable(result.part)}.")
    if result.refusal is not None:
        typer.echo(f"It cannot be simulated: {printable(result.refusal)}")
        return 0
    failed = [outcome for outcome in result.outcomes if outcome.state == "failed"]
    for outcome in failed:
        typer.echo(f"Run {outcome.job.run} failed: {printable(outcome.error)}")
    typer.echo(f"{len(result.outcomes)} runs, {len(failed)} failed." if result.finished else "Interrupted.")
    return 130 if not result.finished else 1 if failed else 0


def script_text(
    file: str | None,
    out: Path | None,
    *,
    on: str,
    jobs: int | None,
    options: Mapping[str, str],
    means: Mapping[str, Any],
    on_progress: Callable[[SweepProgress], None],
    resume: bool,
    dry: bool,
) -> str:
    """Check a sweep, and return the script of its job array; make its directory unless this is a dry run.

    Raises
    ------
    InvalidSweep
        Without a directory, or for a dry run elsewhere.
    """
    from sims.errors import InvalidSweep
    from sims.sweeping import SweepProgress
    from sims.sweeping.array_script import script_of
    from sims.sweeping.means import Means

    if dry and on != "slurm":
        raise InvalidSweep("a dry run prints a job array", expected="--on slurm", got=f"--on {on}")
    if out is None:
        raise InvalidSweep("there is no sweep to run", remedy="Name one, or the directory of one with --out.")
    return script_of(
        file,
        out=out,
        jobs=jobs,
        resume=resume,
        means=Means(**means),
        slurm=options,
        prepare=not dry,
        on_checked=lambda done, total: on_progress(SweepProgress(phase="checking", done=done, total=total)),
    )


def hand_over(text: str, script: Path | None) -> None:
    """Write a script, or print it.

    Raises
    ------
    InvalidSweep
        If the file cannot be written.
    """
    from sims.errors import InvalidSweep

    if script is None:
        typer.echo(text, nl=False)
        return
    try:
        script.write_text(text, encoding="utf-8")
        script.chmod(0o755)
    except OSError as error:
        raise InvalidSweep(f"{script} cannot be written: {error}") from error
    typer.echo(f"Submit it with: sbatch {script}")
