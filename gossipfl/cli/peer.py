"""``gossipfl peer``: make, run and inspect a peer."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gossipfl.cli.flags import Overrides, WithParameterFlags, with_setting_flags
from gossipfl.cli.options import HomeOption, JsonOption, command_group, tell
from gossipfl.cli.peer_requests import add_requests
from gossipfl.cli.peer_views import add_views
from gossipfl.cli.signals import on_signals
from gossipfl.moments import moment

if TYPE_CHECKING:
    from gossipfl.settings import PeerSettings
    from gossipfl.tasks.summary import DataSummary

__all__ = ["app"]

app = command_group("Make, run and inspect a peer.")


@app.command(cls=WithParameterFlags)
@with_setting_flags
def init(
    *,
    home: HomeOption,
    json_output: JsonOption = False,
    try_task: Annotated[
        bool | None,
        typer.Option(
            "--try/--no-try",
            help="Read the data, and try a training step and an evaluation; by default with any task but digits.",
            show_default=False,
        ),
    ] = None,
    overrides: Overrides,
) -> None:
    """Make a new peer: its directory, identity and settings file.

    Every setting has a flag here; those not given take their defaults, and all can be edited in peer.toml. The
    data are read and training is tried first; where they are not on this machine yet, say --no-try.
    """
    from gossipfl.network.identity import load_or_create_identity
    from gossipfl.peer.store.home import Home
    from gossipfl.settings import parse_settings, with_modules
    from gossipfl.tasks.digit_shares import known_name

    settings = with_modules(parse_settings(overrides, source="the flags", flags=overrides), home)
    settings = with_modules(settings, Path.cwd())  # wherever the peer is started later
    place, task = Home(home), settings.task
    data, is_ready = None, True
    name = None if try_task or task.metrics else known_name(task.name, task.options)
    if name is None:
        from gossipfl.peer.statistics.own import with_place_of_statistics
        from gossipfl.peer.task_paths import with_task_paths  # imports torch

        settings = with_task_paths(with_place_of_statistics(settings, home), Path.cwd())
        name, data, is_ready = _tried(settings, home, tries=try_task is not False)
    if settings.rounds.algorithm is not None:
        from gossipfl.rounds.plan import round_algorithm

        round_algorithm(settings)  # a typo, or what only the simulator runs, is named now
    place.create(settings)
    identity = load_or_create_identity(home)
    made = {"home": str(home), "peer_id": identity.peer_id, "task": name}
    start = f"Start it: gossipfl peer run --home {home}"
    if not is_ready:
        start = f"Its task waits for common statistics: gossipfl stats gather --home {home}"
    tell(
        made if data is None else {**made, "data": data.to_dict()},
        [
            f"Made peer {identity.peer_id} in {home}, for task {name}.",
            *([] if data is None else data.lines()),
            *_paths_from_here(settings.task.options),
            f"Its settings are in {place.settings}. {start}",
        ],
        as_json=json_output,
    )


def _paths_from_here(options: Mapping[str, Any]) -> list[str]:
    """Warn of options that lead to a file from this directory alone."""
    return [
        f"Note: {name} = {value!r} leads to a file from this directory alone. Give an absolute path, or annotate "
        "the parameter as pathlib.Path."
        for name, value in options.items()
        if isinstance(value, str) and "/" in value and not Path(value).is_absolute() and Path(value).exists()
    ]


def _tried(settings: PeerSettings, home: Path, *, tries: bool) -> tuple[str, DataSummary | None, bool]:
    """Make a task, and try it; return its name, a summary of its data, and whether it can be learned yet."""
    from gossipfl.errors import StatisticsMissing
    from gossipfl.peer.statistics.own import OwnTable
    from gossipfl.peer.store.home import Home
    from gossipfl.tasks import find_task

    wanted, modules = settings.task, settings.runtime.modules
    try:
        task = find_task(wanted.name, wanted.options, metrics=wanted.metrics, directory=modules)
    except StatisticsMissing:
        own = OwnTable.of(settings, home)
        if tries:
            own.summary()
        return wanted.name, None, False
    Home(home).require_free()
    from gossipfl.keyboard.earlier import TYPED

    has_data = not settings.keyboard.enabled or wanted.options.get("text") != TYPED
    if not tries or not has_data:  # nothing was typed yet
        return task.name, None, True
    from gossipfl.peer.assembly import tried_data

    return task.name, tried_data(task, settings), True


@app.command()
def roster(
    homes: Annotated[list[Path], typer.Argument(help="Homes of all members, in order of their numbers.")],
) -> None:
    """Print the roster of peers whose homes are at hand, a member a line, for rounds.roster_file.

    A line has the member's address where its settings have one with a port, or else its id.
    """
    from gossipfl.network.identity import load_identity
    from gossipfl.peer.store.home import Home
    from gossipfl.settings import load_settings

    for home in homes:
        place = Home(home)
        place.require()
        network, peer_id = load_settings(place.settings).network, load_identity(home).peer_id
        known = [each for each in (*network.announce, *network.listen) if not each.endswith("/tcp/0")]
        typer.echo(f"{known[0].partition('/p2p/')[0]}/p2p/{peer_id}" if known else peer_id)


@app.command()
def bandwidths(
    homes: Annotated[
        list[Path],
        typer.Argument(
            help="Homes of all members in order of their numbers, or folders with their status.json and, where "
            "the doctor measured any, examination.json."
        ),
    ],
    *,
    unknown: Annotated[
        float | None,
        typer.Option(
            "--unknown", min=0.0, help="Mbit/s of links that nobody has measured; otherwise refused."
        ),
    ] = None,
) -> None:
    """Print the bandwidths that peers have measured, from each to each in Mbit/s, as CSV.

    For the topology adaptive-matching, which chooses partners over fast links, and for network.links.file of
    simulations. Links are measured by large rows, or where there were none by `gossipfl doctor`.
    """
    import numpy as np

    from gossipfl.errors import HomeError
    from gossipfl.peer.doctor.examination import read_examination
    from gossipfl.peer.link_matrix import link_matrix
    from gossipfl.peer.status import read_status
    from gossipfl.peer.store.home import Home

    places = [Home(home) for home in homes]
    statuses = [read_status(place.status, whole=False) for place in places]
    members = [str(status["peer_id"]) for status in statuses]
    matrix = link_matrix(members, statuses, [read_examination(place) for place in places])
    unseen = np.argwhere(np.isnan(matrix))
    if len(unseen) and unknown is None:
        sender, receiver = unseen[0].tolist()
        raise HomeError(
            f"nobody has measured {len(unseen)} of the links, the first from member {sender} to {receiver}",
            remedy="Run `gossipfl doctor` at these members while they are connected, or say --unknown MBITS.",
        )
    for row in np.where(np.isnan(matrix), unknown or 0.0, matrix):
        typer.echo(",".join(f"{each:.6g}" for each in row))


def _leaving_at_once() -> AbstractContextManager[None]:
    """Exit on SIGINT and SIGTERM, as there is nothing to save yet: the libraries take seconds to import.

    SIGHUP has no effect yet: the settings have just been read.
    """
    return on_signals(
        signal.SIGINT, signal.SIGTERM, signal.SIGHUP, do=lambda number: number == signal.SIGHUP or os._exit(0)
    )


@app.command(cls=WithParameterFlags)
@with_setting_flags
def run(
    *,
    home: HomeOption,
    json_output: JsonOption = False,
    plain: Annotated[bool, typer.Option("--plain", help="Print log lines, even in a terminal.")] = False,
    until_stdin_ends: Annotated[
        bool,
        typer.Option(
            "--until-stdin-ends",
            help="Stop, as for SIGTERM, when standard input ends: a peer that a program starts with a pipe there "
            "does not outlive it, however it dies.",
        ),
    ] = False,
    overrides: Overrides,
) -> None:
    """Run a peer until Ctrl-C or SIGTERM; it resumes from its checkpoint, and leaves one.

    A flag takes the place of the setting in peer.toml for this run. On SIGHUP, peer.toml is read again.
    """
    with _leaving_at_once():
        from gossipfl.peer import Home
    from gossipfl.settings import load_settings
    from gossipfl.settings.places import naming_the_place

    place = Home(home)
    place.require()
    settings = load_settings(place.settings, overrides)

    with _leaving_at_once(), ExitStack() as early:
        early.enter_context(place.starting())
        from gossipfl.cli.running import (
            run_peer,  # torch and the network: after what can go wrong without them
            with_paths_of_flags,
        )

        def read_settings() -> PeerSettings:
            return with_paths_of_flags(load_settings(place.settings, overrides), overrides, home)

        # The task's own module is imported in there, before the peer takes over the signals.
        with naming_the_place(place.settings, settings):
            run_peer(
                home,
                settings=read_settings(),
                read_settings=read_settings,
                on_ready=early.close,
                json_output=json_output,
                plain=plain,
                until_stdin_ends=until_stdin_ends,
            )


@app.command()
def backup(
    home: Annotated[Path, typer.Argument(help="Directory of the peer.")],
    file: Annotated[Path, typer.Argument(help="What to write: a .tar.gz that is not there yet.")],
    *,
    json_output: JsonOption = False,
) -> None:
    """Save a peer's home, its key included, to one file; the peer may be running.

    Everything in the directory is saved, with a checksum of each part; the file is for its owner's eyes only.
    """
    from gossipfl.peer.store.backup import back_up
    from gossipfl.peer.store.home import Home

    made = back_up(Home(home), file)
    saved = (
        f"Saved peer {made.peer_id}: {made.files} files, {made.size} bytes, its key among them, in {file}."
    )
    left_out = [f"Left out, for it is not a file: {name}" for name in made.left_out]
    tell(asdict(made), [saved, *left_out], as_json=json_output)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `gossipfl peer backup` wrote.")],
    home: Annotated[Path, typer.Argument(help="Directory to make; it must not be there yet.")],
    *,
    json_output: JsonOption = False,
) -> None:
    """Make a peer's home of a backup, once every part of it has been checked.

    The peer goes on from where it was when the backup was made, and its neighbours hear it at once. The one it was
    saved from must not run any more.
    """
    from gossipfl.peer.store.restoring import restore as restore_home

    manifest = restore_home(file, home)
    made = moment(manifest["made"])
    lines = [
        f"Restored peer {manifest['peer_id']} as it was at {made}.",
        f"Start it: gossipfl peer run --home {home}",
    ]
    tell({key: manifest[key] for key in ("peer_id", "made", "version")}, lines, as_json=json_output)


add_views(app)
add_requests(app)
