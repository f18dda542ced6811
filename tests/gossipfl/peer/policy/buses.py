"""A private D-Bus with services that answer as UPower and NetworkManager do."""

import shutil
import subprocess
import threading
from contextlib import contextmanager

import pytest
from jeepney import DBusAddress, HeaderFields, MessageType, new_error, new_method_return
from jeepney.bus_messages import message_bus
from jeepney.io.blocking import open_dbus_connection

__all__ = ["UPOWER", "fake_services", "private_bus"]

UPOWER = "org.freedesktop.UPower"
_DEVICE = "/org/freedesktop/UPower/devices/DisplayDevice"
_CONFIGURATION = """<busconfig><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default">
<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>
</policy>
</busconfig>"""


@contextmanager
def private_bus(directory, monkeypatch):
    """Run a D-Bus daemon of one's own as the system bus."""
    if shutil.which("dbus-daemon") is None:
        pytest.skip("there is no dbus-daemon")
    path = directory / "bus"
    (directory / "bus.conf").write_text(_CONFIGURATION.format(path=path))
    daemon = subprocess.Popen(
        ["dbus-daemon", "--nofork", "--print-address", f"--config-file={directory / 'bus.conf'}"],
        stdout=subprocess.PIPE,
    )
    try:
        assert daemon.stdout.readline().startswith(b"unix:path=")  # it listens
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={path}")
        yield
    finally:
        daemon.terminate()
        daemon.wait()
        daemon.stdout.close()


@contextmanager
def fake_services(power=None, network=None):
    """Answer for UPower, NetworkManager or both; what the mappings hold may be changed meanwhile.

    ``power`` has OnBattery, Percentage and IsPresent; ``network`` has Metered.
    """
    connection = open_dbus_connection(bus="SYSTEM")
    names = [UPOWER] * (power is not None) + ["org.freedesktop.NetworkManager"] * (network is not None)
    for name in names:
        [reply] = connection.send_and_get_reply(message_bus.RequestName(name)).body
        assert reply == 1
    answers = {
        (UPOWER, "/org/freedesktop/UPower"): lambda: {"OnBattery": ("b", power["OnBattery"])},
        (f"{UPOWER}.Device", _DEVICE): lambda: {
            "Percentage": ("d", power["Percentage"]),
            "IsPresent": ("b", power["IsPresent"]),
        },
        ("org.freedesktop.NetworkManager", "/org/freedesktop/NetworkManager"): lambda: {
            "Metered": ("u", network["Metered"])
        },
    }

    def serve():
        while True:
            message = connection.receive()
            if message.header.message_type != MessageType.method_call:
                continue
            fields = message.header.fields
            if fields[HeaderFields.member] == "Stop":
                return
            answer = answers.get((message.body[0], fields[HeaderFields.path]))
            if answer is None:
                connection.send(new_error(message, "org.freedesktop.DBus.Error.UnknownInterface"))
            else:
                connection.send(new_method_return(message, "a{sv}", (answer(),)))

    server = threading.Thread(target=serve)
    server.start()
    try:
        yield
    finally:
        from jeepney import new_method_call

        with open_dbus_connection(bus="SYSTEM") as stopping:
            stopping.send(new_method_call(DBusAddress("/", bus_name=connection.unique_name), "Stop"))
            server.join()
        connection.close()
