"""Gathering by real members on 127.0.0.1: one digest, nothing without opting in, and hostile streams refused."""

from contextlib import asynccontextmanager, suppress

import pytest
import trio

from gossipfl.errors import ExchangeFailed, SettingError
from gossipfl.membership import canonical
from gossipfl.network import Identity, load_or_create_identity, open_host
from gossipfl.network.failures import StreamFailure
from gossipfl.peer.membership.entrance import Entrance
from gossipfl.peer.statistics import gathering, phase
from gossipfl.peer.statistics.collection import Record
from gossipfl.peer.statistics.gathering import Gathering
from gossipfl.peer.statistics.phase import gather, is_complete_with
from gossipfl.peer.store.home import Home
from gossipfl.settings import load_settings, parse_settings
from gossipfl.statistics import CommonStatistics
from gossipfl.tasks import find_task
from gossipfl.wire.summaries import PLACE_BYTES
from tests.gossipfl.network.helpers import in_trio
from tests.gossipfl.statistics.tables import SCHEMA, SCHEMA_TEXT, row, told, write_csv
from tests.gossipfl.wire.test_summaries import signed


def made(tmp_path, name, rows, *, schema=SCHEMA_TEXT, columns=("*",), **network):
    """A home whose peer has these rows."""
    folder = tmp_path / name
    folder.mkdir()
    (folder / "schema.toml").write_text(schema)
    file = write_csv(folder / "table.csv", rows)
    options = {"schema": str(folder / "schema.toml"), "file": str(file)}
    tables = {
        "task": {"name": "table", "options": {**options, "stats": str(folder / "home" / "stats.json")}},
        "stats": {"columns": list(columns)},
        "network": network,
    }
    home = Home(folder / "home")
    home.create(parse_settings(tables, source="a test"))
    return home


def rows_for(number):
    return [row(age=str(30 + number + n), ward="ab"[n % 2], dose=f"{n}.25") for n in range(8 + number)]


@asynccontextmanager
async def gathering_first(home, *, wait=True, **options):
    """Gather in the background, and wait for the end if asked to; gives the peer's address."""
    lines, results = [], []
    async with trio.open_nursery() as nursery:

        async def run():
            results.append(await gather(home, load_settings(home.settings), report=lines.append, **options))

        nursery.start_soon(run)
        with trio.fail_after(30):
            while not any(line.startswith("listening at") for line in lines):
                await trio.sleep(0.02)
        yield (
            next(line.removeprefix("listening at ") for line in lines if "listening" in line),
            lines,
            results,
        )
        if not wait:
            nursery.cancel_scope.cancel()


async def gathered(home, *, bootstrap=(), **options):
    read = load_settings(home.settings)
    if bootstrap:
        network = read.network.model_copy(update={"bootstrap": list(bootstrap)})
        read = read.model_copy(update={"network": network})
    return await gather(home, read, **options)


@in_trio
async def test_four_members_have_one_digest_and_the_sums_of_all_rows(tmp_path):
    hub = made(tmp_path, "0", rows_for(0))
    everyone = {"is_complete": is_complete_with(4, ())}
    found = []
    with trio.fail_after(60):
        async with gathering_first(hub, **everyone) as (address, _, results):
            homes = [made(tmp_path, str(n), rows_for(n), bootstrap=[address]) for n in (1, 2, 3)]
            async with trio.open_nursery() as nursery:

                async def one(home):
                    found.append(await gathered(home, **everyone))

                for home in homes:
                    nursery.start_soon(one, home)
    pooled = [each for number in range(4) for each in rows_for(number)]
    for common in [*results, *found]:
        assert common.digest == results[0].digest
        assert common.total.rows == len(pooled)
        assert common.total.columns[0].total == sum(int(each["age"]) for each in pooled) * 10**12
    digests = {CommonStatistics.load(home.directory / "stats.json").digest for home in [hub, *homes]}
    assert digests == {results[0].digest}
    task = find_task("table", load_settings(homes[0].settings).task.options)
    assert task.statistics == results[0].digest


@in_trio
async def test_a_peer_that_did_not_opt_in_tells_nothing(tmp_path):
    home = made(tmp_path, "0", rows_for(0), columns=())
    with pytest.raises(SettingError, match=r"stats.columns: no statistics of this peer's table may leave"):
        await gathered(home, is_complete=is_complete_with(1, ()))
    home = made(tmp_path, "1", rows_for(0), columns=["weight"])
    with pytest.raises(SettingError, match="the schema has no column 'weight'"):
        await gathered(home, is_complete=is_complete_with(1, ()))


@in_trio
async def test_only_columns_that_were_opted_in_leave(tmp_path):
    home = made(tmp_path, "0", rows_for(0), columns=["ward"])
    common = await gathered(home, is_complete=is_complete_with(1, ()))
    assert common.total.columns[0].present == 0
    assert common.categories("ward") == ("a", "b")


@in_trio
async def test_members_with_another_schema_are_named_and_not_counted(tmp_path):
    hub = made(tmp_path, "0", rows_for(0))
    both = is_complete_with(2, ())
    with trio.fail_after(60):
        async with gathering_first(hub, is_complete=both) as (address, lines, _):
            other = made(
                tmp_path, "1", rows_for(1), schema=SCHEMA_TEXT.replace("120", "130"), bootstrap=[address]
            )
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: gathered(other, is_complete=both))
                while not any("has another schema" in line for line in lines):
                    await trio.sleep(0.05)
                nursery.cancel_scope.cancel()
            right = made(tmp_path, "2", rows_for(2), bootstrap=[address])
            common = await gathered(right, is_complete=both, linger=1.0)
    assert len(common.members) == 2
    assert load_or_create_identity(other.directory).peer_id not in common.members


@in_trio
async def test_only_members_on_the_roster_count(tmp_path):
    hub = made(tmp_path, "0", rows_for(0))
    right, wrong = (made(tmp_path, str(number), rows_for(number)) for number in (1, 2))
    hub_id, right_id = (load_or_create_identity(each.directory).peer_id for each in (hub, right))
    roster = [hub_id, right_id]
    options = {"is_complete": is_complete_with(2, roster), "roster": roster, "linger": 1.0}
    with trio.fail_after(60):
        async with gathering_first(hub, **options) as (address, _, results):
            for home in (wrong, right):
                text = home.settings.read_text()
                home.settings.write_text(text.replace("bootstrap = []", f'bootstrap = ["{address}"]', 1))
            with trio.move_on_after(3):
                await gathered(wrong, is_complete=is_complete_with(3, ()))
            await gathered(right, **options)
    assert set(results[0].members) == set(roster)
    with pytest.raises(SettingError):
        is_complete_with(2, ["no peer id"])


def hello(*places, schema=SCHEMA, count=None):
    return schema.digest + (len(places) if count is None else count).to_bytes(2, "little") + b"".join(places)


def record(data, certificate=b""):
    return b"".join(len(part).to_bytes(2, "little") + part for part in (data, certificate))


@in_trio
async def test_hostile_openers_are_refused_and_change_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(gathering, "_TICK_SECONDS", 3600.0)
    victims = []
    monkeypatch.setattr(phase, "Gathering", lambda **parts: victims.append(Gathering(**parts)) or victims[0])
    home = made(tmp_path, "0", rows_for(0))
    own, network = Identity.generate(), bytes(32)
    good = signed(told(rows_for(1)), identity=own, network=network)
    forged = signed(told(rows_for(1)), identity=own, network=network, sign=Identity.generate().sign)
    place = b"\x01" * PLACE_BYTES
    hostile = [
        hello(count=257),
        hello(place, place),
        hello() + b"\xff\xff",
        hello() + b"\x01\x00" + record(b""),
        hello() + b"\x01\x00" + record(bytes(300)),
        hello() + b"\x01\x00" + record(forged),
        hello() + b"\x01\x00" + record(signed(told(rows_for(1)), network=b"x" * 32)),
        hello() + b"\x01\x00" + record(good)[:-2] + b"\xff\xff",
    ]
    with trio.fail_after(120):
        async with gathering_first(home, is_complete=is_complete_with(9, ()), wait=False) as (address, _, _):
            (victim,) = victims
            for data in hostile:
                await _refused(data, victim, address, tmp_path)
            assert list(victim.summaries.members) == [victim.identity.peer_id]
            assert victim.summaries.add(Record(good, b""))  # which an honest member would have told


async def _refused(data, victim, address, tmp_path):
    """Open streams with these bytes, as a new peer, until the victim has refused one."""
    identity, refused = Identity.generate(), victim.host.counters.refused
    charter = canonical(phase._CHARTER)
    settings = parse_settings({}, source="a test")
    entrance = Entrance(settings, tmp_path / "none", identity, charter=charter, follows_charter=False)
    async with open_host(identity, expectation=phase._NO_MODELS, threshold=entrance.threshold) as host:
        before = refused["malformed_statement"]
        while refused["malformed_statement"] == before:
            with suppress(ExchangeFailed, StreamFailure):
                stream = await host.services.open(
                    victim.identity.peer_id,
                    [gathering.STATISTICS_PROTOCOL],
                    addresses=[address.partition("/p2p/")[0]],
                )
                await stream.write(data)
            with trio.move_on_after(1.0):
                while refused["malformed_statement"] == before:
                    await trio.sleep(0.02)
