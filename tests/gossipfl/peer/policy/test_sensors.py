"""Readers of the machine: a real load, real D-Bus services, and files as the kernel has them."""

import multiprocessing

import psutil
import pytest

from gossipfl.errors import SettingError
from gossipfl.peer.policy import libraries
from gossipfl.peer.policy.libraries import require_readable
from gossipfl.peer.policy.power import read_power
from gossipfl.peer.policy.processor import Processor
from gossipfl.peer.policy.sensors import Sensors, read_network, read_pressure, read_temperature
from gossipfl.settings import PolicySettings
from tests.gossipfl.peer.policy.buses import fake_services, private_bus


@pytest.fixture
def no_bus(tmp_path, monkeypatch):
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path / 'none'}")


@pytest.fixture
def bus(tmp_path, monkeypatch):
    with private_bus(tmp_path, monkeypatch):
        yield


def _burn(begun, ended):
    begun.set()
    while not ended.is_set():
        sum(range(10_000))


def _cpu_seconds(process):
    return sum(psutil.Process(process.pid).cpu_times()[:2])


def test_the_cpu_of_others_counts_and_ones_own_does_not():
    context = multiprocessing.get_context("spawn")
    begun, ended = context.Event(), context.Event()
    other = context.Process(target=_burn, args=(begun, ended))
    other.start()
    try:
        assert begun.wait(60)
        processor = Processor()
        processor.read()
        used = _cpu_seconds(other)
        before = sum(psutil.cpu_times()[:8])
        while sum(psutil.cpu_times()[:8]) < before + 1:  # this process works too
            sum(range(10_000))
        share = (_cpu_seconds(other) - used) / (sum(psutil.cpu_times()[:8]) - before)
        found = processor.read()
    finally:
        ended.set()
        other.join()
    assert share * 0.8 < found.value <= 1
    assert found.text == f"other processes use {found.value:.0%} of the CPU"


def test_the_process_s_own_cpu_is_taken_off(monkeypatch):
    times = iter([(10.0, 3.0, 1.0, 80.0), (14.0, 4.0, 4.0, 82.0)])  # user, system, own, idle

    class Times:
        def __init__(self, user, system, idle):
            self.fields = {"user": user, "system": system, "idle": idle, "iowait": 5.0, "guest": user}

        def _asdict(self):
            return self.fields

    current = None

    def cpu_times():
        nonlocal current
        current = next(times)
        return Times(current[0], current[1], current[3])

    monkeypatch.setattr(psutil, "cpu_times", cpu_times)
    monkeypatch.setattr("os.times", lambda: type("T", (), {
        "user": current[2], "system": 0.0, "children_user": 0.0, "children_system": 0.0, "elapsed": 0.0,
    }))  # fmt: skip
    monkeypatch.setattr("time.sleep", lambda _: None)
    assert Processor().read().value == pytest.approx((4 + 1 - 3) / 7)


def test_upower_says_charge_and_external_power(bus):
    power = {"OnBattery": True, "Percentage": 37.0, "IsPresent": True}
    with fake_services(power=power):
        found = read_power()
        assert (found["battery"].value, found["battery"].text) == (0.37, "the battery is at 37%")
        assert (found["charging"].value, found["charging"].text) == (0.0, "on battery")
        power.update(OnBattery=False, Percentage=80.0)
        found = read_power()
        assert (found["battery"].value, found["charging"].value) == (0.8, 1.0)
        power.update(IsPresent=False, Percentage=0.0)
        assert {(each.value, each.text) for each in read_power().values()} == {(1.0, "there is no battery")}


@pytest.mark.parametrize(("metered", "value"), [(0, None), (1, 0.0), (2, 1.0), (3, 0.0), (4, 1.0), (9, None)])
def test_networkmanager_says_whether_the_network_is_metered(bus, metered, value):
    with fake_services(network={"Metered": metered}):
        assert read_network().value == value


def test_a_service_or_a_bus_that_is_not_there_is_a_reason(bus, tmp_path, monkeypatch):
    assert read_network().text == (
        "org.freedesktop.NetworkManager on the system bus: org.freedesktop.DBus.Error.ServiceUnknown"
    )
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path / 'none'}")
    found = read_network()
    assert (found.value, found.text.startswith("the system bus: ")) == (None, True)


def test_without_upower_psutil_reads_the_kernels_files(no_bus, tmp_path, monkeypatch):
    supplies = tmp_path / "power_supply"
    battery = supplies / "BAT0"
    battery.mkdir(parents=True)
    monkeypatch.setattr("psutil._pslinux.POWER_SUPPLY_PATH", str(supplies))
    for name, value in {"capacity": 55, "status": "Discharging"}.items():
        (battery / name).write_text(f"{value}\n")
    found = read_power()
    assert [found[name].value for name in ("battery", "charging")] == [0.55, 0.0]
    (battery / "status").write_text("Charging\n")
    assert read_power()["charging"].value == 1.0
    (battery / "status").write_text("Unknown\n")
    assert read_power()["charging"].text == "the battery does not say"
    for each in battery.iterdir():
        each.unlink()
    battery.rmdir()
    assert read_power()["battery"].text == "there is no battery"
    supplies.rmdir()
    assert read_power()["charging"].value == 1.0


def test_the_hottest_sensor_counts(tmp_path, monkeypatch):
    zone = tmp_path / "hwmon0"
    zone.mkdir()
    monkeypatch.chdir(tmp_path)  # psutil cuts paths at underscores
    for name, value in {"name": "coretemp", "temp1_input": 41000, "temp2_input": 83500}.items():
        (zone / name).write_text(f"{value}\n")
    real = psutil._pslinux.glob.glob

    def found(pattern, **options):
        return real(pattern.replace("/sys/class/hwmon", "."), **options)

    monkeypatch.setattr("psutil._pslinux.glob.glob", found)
    assert (read_temperature().value, read_temperature().text) == (83.5, "coretemp is at 84 °C")
    for each in zone.iterdir():
        each.unlink()
    assert read_temperature().text == "the machine shows no sensor"


def test_memory_pressure_is_the_kernels(tmp_path):
    path = tmp_path / "memory"
    path.write_text(
        "some avg10=12.50 avg60=3.00 avg300=1.00 total=9\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n"
    )
    assert read_pressure(path).value == 0.125
    for text in ("", "some", "some avg10=much"):
        path.write_text(text)
        assert read_pressure(path).text == f"{path} has another form than expected"
    assert read_pressure(tmp_path / "none").text == f"{tmp_path / 'none'}: No such file or directory"


def test_only_what_is_wanted_is_read(no_bus, tmp_path):
    found = {}
    Sensors(pressure=tmp_path / "none").read(["memory_pressure", "charging"], found)
    assert set(found) == {"memory_pressure", "battery", "charging"}


def test_a_file_that_may_not_be_read_is_a_reason_and_ends_nothing(no_bus, monkeypatch):
    """Android forbids /proc/stat."""

    def forbidden():
        raise PermissionError(13, "Permission denied", "/proc/stat")

    for name in ("cpu_times", "sensors_temperatures", "sensors_battery"):
        monkeypatch.setattr(psutil, name, forbidden)
    found = {}
    Sensors().read(["other_cpu", "temperature", "charging"], found)
    assert {each.value for each in found.values()} == {None}
    assert found["other_cpu"].text == "PermissionError: [Errno 13] Permission denied: '/proc/stat'"
    assert found["charging"].text.endswith("; psutil: [Errno 13] Permission denied: '/proc/stat'")


def test_a_missing_library_is_named_with_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(libraries, "library", lambda name: None)
    for settings in ({"other_cpu": 0.5}, {"temperature": 80}, {"charging": True}, {"battery": 0.0}):
        with pytest.raises(SettingError, match=r"policy\.\w+ needs .*psutil.*'gossipfl\[policy\]'"):
            require_readable(PolicySettings(**settings), tmp_path)
    with pytest.raises(SettingError, match=r"policy\.unmetered needs jeepney"):
        require_readable(PolicySettings(unmetered=True), tmp_path)
    require_readable(PolicySettings(memory_pressure=0.1, hours=["1:00-2:00"]), tmp_path)
