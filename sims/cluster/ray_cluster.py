"""The connection to a Ray cluster: its address, whether it answers, and whether it runs the same software."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from types import ModuleType
from typing import Any
from urllib.parse import SplitResult, urlsplit

from gossipfl.errors import SettingError
from gossipfl.extras import require_extra
from sims.cluster.software import differences, software
from sims.errors import ClusterMismatch, ClusterUnreachable

__all__ = ["connected", "is_ray", "require_same_software"]

_DIAL_SECONDS = 10.0
_PROBE_SECONDS = 120.0
_START = (
    "Start one with `ray start --head`, or leave the address out to start one here. For one that listens at "
    "127.0.0.1 alone, set RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 here as it is there."
)
_WITH_TOKEN = "If the cluster wants a token, set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN as it is there."  # noqa: S105 - says what to set
_ALL_ADDRESSES = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # on Linux, too
_FORKS = (
    "Start its head with GRPC_ENABLE_FORK_SUPPORT=0 in the environment: what it forks for a client can hang."
)


def is_ray(on: str) -> bool:
    """Whether a place to run is a Ray cluster: ``ray``, or ``ray://host:port``."""
    return on == "ray" or on.startswith("ray://")


@contextmanager
def connected(on: str, *, cpus: int | None = None) -> Iterator[ModuleType]:
    """Connect to a Ray cluster, and give the module ``ray``; disconnect at the end.

    Parameters
    ----------
    on : str
        ``ray://host:port`` for the cluster whose client server listens there. ``ray`` for the one that the
        environment variable ``RAY_ADDRESS`` names; without it one is started on this machine, and ends with the
        block. A connection that this process already has is used for ``ray``, and kept.
    cpus : int, optional
        Of a cluster that is started; by default the machine's.

    Raises
    ------
    SettingError
        If the address is none, or ray is not installed.
    ClusterUnreachable
        If no cluster answers there, or an address is given and this process has a connection already.
    ClusterMismatch
        If the cluster has other versions of Python, Ray or what computes.

    Notes
    -----
    A cluster that is started listens at 127.0.0.1 alone. Usage statistics of Ray are turned off. Its signal
    handlers are undone, so that Ctrl-C and SIGTERM do what they did before.
    """
    if not is_ray(on):
        raise SettingError("no Ray cluster is named", expected="ray, or ray://host:port", got=on)
    address = on if on.startswith("ray://") else os.environ.get("RAY_ADDRESS") or "local"
    if address.startswith("ray://"):
        _require_listener(address)
    require_extra("ray", ["ray"], what=f"running on {on}")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if not address.startswith("ray://") and address != "local" and not ray.is_initialized():
        address = _as_dialled(address)

    if ray.is_initialized():
        if on != "ray":  # the end of another one would be the end of this one, too
            raise ClusterUnreachable(
                "this process is connected to a Ray cluster already",
                remedy="Say `ray`, without an address, to use it; or end it with ray.shutdown().",
            )
        require_same_software(ray)
        yield ray
        return
    try:
        with _own_handlers():
            _initialise(ray, address, cpus)
        require_same_software(ray)
        yield ray
    finally:
        ray.shutdown()


def require_same_software(ray: ModuleType) -> None:
    """Require of every machine of a cluster the software of this process.

    Raises
    ------
    ClusterMismatch
        If a machine has other versions, so that results could differ; or no gossipfl at all.
    ClusterUnreachable
        If a machine does not answer.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    probe = ray.remote(software)
    nodes = [node for node in ray.nodes() if node["Alive"]]
    there = [
        probe.options(
            num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote()
        for node in nodes
    ]
    for node, reference in zip(nodes, there, strict=True):
        machine = node["NodeManagerHostname"]
        expected, found = differences(software(), _answer(ray, reference, machine))
        if expected:
            raise ClusterMismatch(
                f"{machine} of the Ray cluster runs other software than this process",
                expected=expected,
                got=found,
                remedy="Install the same versions on all machines.",
            )


def _answer(ray: ModuleType, reference: object, machine: str) -> dict[str, str]:
    try:
        answer: dict[str, str] = ray.get(reference, timeout=_PROBE_SECONDS)
    except ray.exceptions.GetTimeoutError as error:
        raise ClusterUnreachable(
            f"{machine} of the Ray cluster did not start a process within {_PROBE_SECONDS:.0f} s"
        ) from error
    except Exception as error:
        if "ModuleNotFoundError" not in str(error):
            raise ClusterUnreachable(
                f"{machine} of the Ray cluster cannot run anything", got=_last_line(error)
            ) from error
        raise ClusterMismatch(
            f"{machine} of the Ray cluster lacks what simulations need",
            got=_last_line(error),
            remedy="Install on all machines: pip install 'gossipfl[sims,ray]'.",
        ) from error
    return answer


def _initialise(ray: ModuleType, address: str, cpus: int | None) -> None:
    settings: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": "ERROR"}
    here = address == "local"
    if here:
        settings |= {"include_dashboard": False, "num_cpus": cpus}
    try:
        with _for_this_machine_alone() if here else nullcontext():
            ray.init(**settings)
    except ImportError as error:
        raise SettingError(
            "a Ray cluster elsewhere needs Ray's client", got=error, remedy="pip install 'gossipfl[ray]'"
        ) from error
    except (ConnectionError, TimeoutError, OSError) as error:
        hangs = "client server failed" in str(error)
        raise ClusterUnreachable(
            f"no Ray cluster answers at {address}",
            got=_last_line(error).rstrip("."),
            remedy=_FORKS if hangs else _WITH_TOKEN,
        ) from error
    except (RuntimeError, ray.exceptions.RayError) as error:
        if "ersion" in str(error) and "ismatch" in str(error):
            raise ClusterMismatch(
                f"the Ray cluster at {address} runs another Ray or Python", got=" ".join(str(error).split())
            ) from error
        raise ClusterUnreachable(
            f"the Ray cluster at {address} refuses this process",
            got=_last_line(error),
            remedy=_WITH_TOKEN,
        ) from error
    except Exception as error:
        if type(error) is not Exception:  # Ray says so that a node did not start in time
            raise
        raise ClusterUnreachable(
            f"no Ray cluster was started ({address})",
            got=_last_line(error),
            remedy="Try again when the machine is less busy.",
        ) from error


@contextmanager
def _for_this_machine_alone() -> Iterator[None]:
    """Let what Ray starts listen at 127.0.0.1: its way on macOS and Windows, and on Linux if it is told so."""
    if os.environ.get(_ALL_ADDRESSES):  # as somebody wants it who may want others to join
        yield
        return
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    os.environ[_ALL_ADDRESSES], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
        os.environ.pop(_ALL_ADDRESSES)


def _require_listener(address: str, *, said: str | None = None) -> None:
    """Require that something listens, which Ray itself tells of only after a minute."""
    place = _split(address)
    try:
        socket.create_connection((place.hostname, place.port), timeout=_DIAL_SECONDS).close()
    except OSError as error:
        what = f"no Ray cluster answers at {said or address}"
        raise ClusterUnreachable(what, got=error, remedy=_START) from error


def _as_dialled(address: str) -> str:
    """Require a listener where Ray will look for a cluster: else it waits for minutes, and says little.

    For ``auto`` it goes by processes and by a note that outlives a cluster, and 127.0.0.1 it takes for an address
    that other machines could use, too.
    """
    from ray._private import services

    if address != "auto":
        _split(address)
    try:
        found: str = services.canonicalize_bootstrap_address(address)
    except ConnectionError as error:
        raise ClusterUnreachable("no Ray cluster runs on this machine", got=error, remedy=_START) from error
    _require_listener(found, said=address if found == address else f"{address}, for Ray {found}")
    return found


def _split(address: str) -> SplitResult:
    place = urlsplit(address if "://" in address else f"//{address}")
    port = None
    with suppress(ValueError):  # no number, or none of a port
        port = place.port
    if place.hostname is None or port is None:
        raise SettingError(
            "the address of a Ray cluster needs a host and a port",
            expected="such as ray://head:10001, or host:6379 in RAY_ADDRESS",
            got=address,
        )
    return place


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


@contextmanager
def _own_handlers() -> Iterator[None]:
    """Undo what Ray does to the handlers of signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[signal.Signals, Any] = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.getsignal(number)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
