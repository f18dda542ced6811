"""Readings of the machine for the conditions of a policy."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Final

from gossipfl.peer.policy.decision import Reading
from gossipfl.peer.policy.libraries import library
from gossipfl.peer.policy.power import read_power
from gossipfl.peer.policy.processor import Processor
from gossipfl.peer.policy.system_bus import Unreachable, properties_of

__all__ = ["PRESSURE", "Sensors"]

#: https://docs.kernel.org/accounting/psi.html
PRESSURE: Final = Path("/proc/pressure/memory")
_NETWORK: Final = "org.freedesktop.NetworkManager"
#: NMMetered: yes and no, each also as a guess; anything else is unknown.
_METERED: Final = {1: True, 3: True, 2: False, 4: False}


class Sensors:
    """What can be read of a machine; it blocks, so it is for a worker thread.

    Parameters
    ----------
    pressure : Path, optional
        The kernel's file of memory pressure.
    """

    def __init__(self, *, pressure: Path = PRESSURE) -> None:
        self._processor = Processor()
        self._pressure = pressure

    def read(self, wanted: Collection[str], into: dict[str, Reading]) -> None:
        """Read conditions, and put each into a mapping as soon as it is read."""
        readers: Mapping[tuple[str, ...], Callable[[], Mapping[str, Reading]]] = {
            ("other_cpu",): lambda: {"other_cpu": self._processor.read()},
            ("unmetered",): lambda: {"unmetered": read_network()},
            ("temperature",): lambda: {"temperature": read_temperature()},
            ("memory_pressure",): lambda: {"memory_pressure": read_pressure(self._pressure)},
            ("battery", "charging"): read_power,
        }
        for names, read in readers.items():
            if not set(names).isdisjoint(wanted):
                try:
                    into.update(read())
                except Exception as error:  # such as Android's, which forbids some files: the peer goes on
                    said = f"{type(error).__name__}: {error}"
                    into.update({name: Reading(value=None, text=said) for name in names})


def read_network() -> Reading:
    """Return whether the network is not metered, as NetworkManager knows or guesses.

    https://networkmanager.dev/docs/api/latest/nm-dbus-types.html#NMMetered
    """
    try:
        found = properties_of(_NETWORK, "/org/freedesktop/NetworkManager", _NETWORK).get("Metered")
    except Unreachable as error:
        return Reading(value=None, text=str(error))
    is_metered = _METERED.get(found) if isinstance(found, int) else None
    if is_metered is None:
        return Reading(value=None, text="NetworkManager does not know whether the network is metered")
    return Reading(
        value=float(not is_metered), text="the network is metered" if is_metered else "not metered"
    )


def read_temperature() -> Reading:
    """Return the temperature of the hottest sensor, in degrees Celsius."""
    psutil = library("psutil")
    if psutil is None:
        return Reading(value=None, text="psutil is not installed")
    if not hasattr(psutil, "sensors_temperatures"):
        return Reading(value=None, text="psutil reads no temperatures on this system")
    found = [
        (float(each.current), chip)
        for chip, sensors in psutil.sensors_temperatures().items()
        for each in sensors
    ]
    if not found:
        return Reading(value=None, text="the machine shows no sensor")
    hottest, chip = max(found)
    return Reading(value=hottest, text=f"{chip} is at {hottest:.0f} °C")


def read_pressure(path: Path) -> Reading:
    """Return the share of the last ten seconds in which some process waited for memory."""
    try:
        line = path.read_text().splitlines()[0]
        share = float(dict(each.split("=") for each in line.split()[1:])["avg10"]) / 100
    except OSError as error:
        return Reading(value=None, text=f"{path}: {error.strerror}")
    except (IndexError, KeyError, ValueError):
        return Reading(value=None, text=f"{path} has another form than expected")
    return Reading(value=share, text=f"processes waited for memory for {share:.0%} of the last 10 s")
