"""Memory that limits leave: of control groups of both versions, and of the process itself."""

import resource

import pytest

from gossipfl import machine

MB = 1 << 20


@pytest.fixture
def group(tmp_path, monkeypatch):
    """Make a control group with so many megabytes used, and be in it."""
    lines = []

    def make(line, directory, limit, *, used, files):
        version_1 = not line.startswith("0::")
        names = ("limit_in_bytes", "usage_in_bytes") if version_1 else ("max", "current")
        place = tmp_path / directory
        place.mkdir(parents=True, exist_ok=True)
        (place / f"memory.{names[0]}").write_text("max" if limit is None else str(limit * MB))
        (place / f"memory.{names[1]}").write_text(str(used * MB))
        total = "total_" if version_1 else ""
        (place / "memory.stat").write_text(
            f"anon 5\n{total}inactive_file {files * MB}\n{total}active_file {files * MB}\n"
        )
        lines.append(line)
        (tmp_path / "cgroup").write_text("\n".join(dict.fromkeys(lines)) + "\n")

    monkeypatch.setattr(machine, "_GROUPS", tmp_path)
    monkeypatch.setattr(machine, "_MEMBERSHIP", tmp_path / "cgroup")
    return make


@pytest.mark.parametrize(
    ("line", "directory"),
    [
        ("0::/user.slice/run", "user.slice/run"),
        ("0::/user.slice/run", "user.slice"),  # of a group above it
        ("0::/user.slice/run", "unified/user.slice/run"),  # beside version 1
        ("0::/docker/17", ""),  # in a container
        ("4:memory:/docker/17", "memory/docker/17"),
        ("4:cpu,memory:/docker/17", "memory"),
    ],
)
def test_a_groups_limit_less_what_it_uses_is_what_can_be_had(line, directory, group):
    group(line, directory, 300, used=200, files=30)
    assert machine.available_memory() == (300 - 200 + 2 * 30) * MB


def test_the_narrowest_group_counts(group):
    group("0::/a/b/c", "a/b/c", None, used=10, files=0)
    group("0::/a/b/c", "a/b", 400, used=100, files=0)
    group("0::/a/b/c", "a", 500, used=490, files=0)
    assert machine.available_memory() == 10 * MB


def test_groups_of_others_do_not_count(group):
    group("4:cpu:/docker/17", "memory/docker/17", 1, used=1, files=0)
    group("0::/mine", "other", 1, used=1, files=0)
    assert machine.available_memory() > 100 * MB


@pytest.mark.parametrize("limit", [resource.RLIMIT_AS, resource.RLIMIT_DATA])
def test_a_limit_on_addresses_counts(limit):
    before = resource.getrlimit(limit)
    most = 1 << 36
    resource.setrlimit(limit, (most, before[1]))
    try:
        free = machine.available_memory()
        resource.setrlimit(limit, (1 << 34, before[1]))
        less = machine.available_memory()
        assert machine.limits_addresses() is (limit == resource.RLIMIT_AS)
    finally:
        resource.setrlimit(limit, before)
    assert less < min(free, 1 << 34)
    assert less <= machine.attainable_memory()


def test_what_a_process_has_is_attainable(monkeypatch):
    monkeypatch.setattr(machine, "available_memory", lambda: 0)
    before = machine.attainable_memory()
    held = b"1" * (100 * MB)
    assert machine.attainable_memory() - before > 0.9 * len(held)
