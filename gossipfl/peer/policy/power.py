"""Charge of the battery and external power, by UPower or else by psutil."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gossipfl.peer.policy.decision import Reading
from gossipfl.peer.policy.libraries import library
from gossipfl.peer.policy.system_bus import Unreachable, properties_of

__all__ = ["read_power"]

_SERVICE: Final = "org.freedesktop.UPower"
_PATH: Final = "/org/freedesktop/UPower"


@dataclass(frozen=True, slots=True)
class _Power:
    """The machine's power supply: charge as a share, None without a battery; whether it is external, if known."""

    charge: float | None
    is_external: bool | None


def read_power() -> dict[str, Reading]:
    """Return the readings ``battery`` and ``charging``.

    A machine without a battery has external power, and a full charge.
    """
    try:
        power = _by_upower()
    except Unreachable as error:
        try:
            power = _by_psutil()
        except Unreachable as other:
            reading = Reading(value=None, text=f"{error}; {other}")
            return {"battery": reading, "charging": reading}
    if power.charge is None:
        reading = Reading(value=1.0, text="there is no battery")
        return {"battery": reading, "charging": reading}
    battery = Reading(value=power.charge, text=f"the battery is at {power.charge:.0%}")
    if power.is_external is None:
        return {"battery": battery, "charging": Reading(value=None, text="the battery does not say")}
    text = "on external power" if power.is_external else "on battery"
    return {"battery": battery, "charging": Reading(value=float(power.is_external), text=text)}


def _by_upower() -> _Power:
    """Read UPower's composite device, which stands for all batteries of the machine.

    https://upower.freedesktop.org/docs/Device.html
    """
    supply = properties_of(_SERVICE, _PATH, _SERVICE)
    device = properties_of(_SERVICE, f"{_PATH}/devices/DisplayDevice", f"{_SERVICE}.Device")
    try:
        is_external = not bool(supply["OnBattery"])
        charge = float(device["Percentage"]) / 100 if device["IsPresent"] else None
    except (KeyError, TypeError, ValueError) as error:
        raise Unreachable(f"UPower lacks {error}") from error
    return _Power(charge, is_external)


def _by_psutil() -> _Power:
    psutil = library("psutil")
    if psutil is None:
        raise Unreachable("psutil is not installed")
    if not hasattr(psutil, "sensors_battery"):
        raise Unreachable("psutil reads no battery on this system")
    try:
        battery = psutil.sensors_battery()
    except FileNotFoundError:  # a kernel without power supplies
        return _Power(None, None)
    except OSError as error:
        raise Unreachable(f"psutil: {error}") from error
    return (
        _Power(None, None) if battery is None else _Power(float(battery.percent) / 100, battery.power_plugged)
    )
