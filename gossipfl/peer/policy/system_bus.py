"""Properties of services on the system's D-Bus."""

from __future__ import annotations

from typing import Any, Final

from gossipfl.peer.policy.libraries import library

__all__ = ["Unreachable", "properties_of"]

_SECONDS: Final = 2.0
_MOST_SHOWN: Final = 200


class Unreachable(Exception):
    """There is no system bus, or no such service on it; the message says which."""


def properties_of(service: str, path: str, interface: str) -> dict[str, Any]:
    """Read all properties of one interface of an object.

    Raises
    ------
    Unreachable
        They cannot be read.
    """
    if library("jeepney") is None:
        raise Unreachable("jeepney is not installed")
    from jeepney import DBusAddress, DBusErrorResponse, Properties
    from jeepney.io.blocking import open_dbus_connection
    from jeepney.wrappers import unwrap_msg

    request = Properties(DBusAddress(path, bus_name=service, interface=interface)).get_all()
    try:
        with open_dbus_connection(bus="SYSTEM", auth_timeout=_SECONDS) as connection:
            [found] = unwrap_msg(connection.send_and_get_reply(request, timeout=_SECONDS))
            return {name: value for name, (_, value) in found.items()}
    except DBusErrorResponse as error:
        raise Unreachable(f"{service} on the system bus: {error.name}") from error
    except (OSError, EOFError, RuntimeError, ValueError) as error:
        said = str(error)[:_MOST_SHOWN] or type(error).__name__
        raise Unreachable(f"the system bus: {said}") from error
