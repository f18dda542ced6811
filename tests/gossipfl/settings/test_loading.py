"""Settings: TOML and back without loss, and everything wrong named by table and key."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st
from pydantic import BaseModel

from gossipfl.errors import SettingError
from gossipfl.settings import PeerSettings, dump_settings, load_settings, parse_settings

POSITIVE = st.floats(min_value=1e-9, max_value=1e9, allow_subnormal=False)
WHOLE = st.integers(min_value=1, max_value=2**40)
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
SCALAR = st.none().filter(lambda _: False) | st.booleans() | st.integers(-(2**60), 2**60) | TEXT
OPTION = st.recursive(
    SCALAR | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
ADDRESS = st.integers(1, 65535).map(lambda port: f"/ip4/10.0.0.1/tcp/{port}")
PEER = ADDRESS.map(lambda address: f"{address}/p2p/12D3KooWHM3zPRwnzjUcCxXp5at7DDVowGPxwsFJrSm7dmihFAQV")


@st.composite
def settings(draw):
    size = draw(st.integers(1, 64))
    return PeerSettings.model_validate(
        {
            "task": {"name": draw(TEXT), "options": draw(st.dictionaries(TEXT, OPTION, max_size=4))},
            "training": {
                "learning_rate": draw(POSITIVE),
                "schedule": draw(st.sampled_from(["constant", "inverse", "cosine", "wsd"])),
                "clip_norm": draw(st.none() | POSITIVE),
                "batch_size": draw(WHOLE),
                "momentum": draw(st.floats(0, 0.999)),
            },
            "exchange": {"period": draw(POSITIVE), "mode": draw(st.sampled_from(["push", "push-pull"]))},
            "view": {"size": size, "exchanged": draw(st.integers(1, size))},
            "network": {
                "listen": draw(st.lists(ADDRESS, min_size=1, max_size=3)),
                "bootstrap": draw(st.lists(PEER, max_size=2)),
                "allow": draw(
                    st.lists(st.just("12D3KooWHM3zPRwnzjUcCxXp5at7DDVowGPxwsFJrSm7dmihFAQV"), max_size=2)
                ),
            },
            "runtime": {"number": draw(st.integers(0, 2**40))},
        }
    )


@profile(max_examples=40, deadline=None)
@given(settings())
def test_what_is_written_reads_back_equal(tmp_path_factory, wanted):
    path = tmp_path_factory.mktemp("home") / "peer.toml"
    path.write_text(dump_settings(wanted), encoding="utf-8")
    assert load_settings(path) == wanted


def single_tables():
    """All tables but the arrays of tables, ``[[outgoing]]``."""
    fields = {name: field for name, field in PeerSettings.model_fields.items() if name != "outgoing"}
    assert len(fields) == len(PeerSettings.model_fields) - 1
    return fields


def test_every_setting_is_in_the_file_with_a_comment():
    lines = dump_settings(PeerSettings()).splitlines()
    for field in single_tables().values():
        for key, setting in field.annotation.model_fields.items():
            own = [line for line in lines if line.removeprefix("# ").startswith(f"{key} =")]
            assert any(setting.description in line for line in own), key


@pytest.mark.parametrize(
    ("tables", "parts"),
    [
        ({"trainig": {}}, ["peer.toml: trainig: unknown key 'trainig'", "Did you mean 'training'?"]),
        ({"training": {"learing_rate": 1}}, ["training.learing_rate: unknown key", "'learning_rate'?"]),
        (
            {"view": {"zzz": 1}},
            ["view.zzz: unknown key 'zzz'; known are ", "exchanged, failures, narrower, period"],
        ),
        ({"training": {"learning_rate": -1}}, ["training.learning_rate", "greater than 0", "got -1"]),
        ({"training": {"learning_rate": math.nan}}, ["training.learning_rate", "finite", "nan"]),
        ({"training": {"learning_rate": math.inf}}, ["training.learning_rate", "finite", "inf"]),
        ({"training": {"batch_size": 1.5}}, ["training.batch_size", "integer", "1.5"]),
        ({"training": {"momentum": 1}}, ["training.momentum", "less than 1"]),
        ({"exchange": {"period": 0}}, ["exchange.period", "greater than 0"]),
        ({"exchange": {"codec": "int1"}}, ["exchange.codec", "float32 or", "'int8'?", "'int1'"]),
        ({"exchange": {"codec": "qsgd"}}, ["exchange.codec", "qsgd:LEVELS[:BUCKET]"]),
        ({"exchange": {"codec": "top:0.01"}}, ["exchange.codec", "error feedback", "int8", "choco"]),
        ({"exchange": {"codec": 8}}, ["exchange.codec", "string"]),
        ({"view": {"size": 5, "exchanged": 9}}, ["view.exchanged (9)", "view.size (5)"]),
        ({"network": {"listen": ["nonsense"]}}, ["network.listen", "'nonsense'", "/ip4/HOST/tcp/PORT"]),
        ({"network": {"listen": []}}, ["network.listen", "at least 1"]),
        ({"network": {"listen": "/ip4/1.2.3.4/tcp/1"}}, ["network.listen", "list"]),
        (
            {"network": {"bootstrap": ["/ip4/1.2.3.4/tcp/1"]}},
            ["network.bootstrap", "append /p2p/PEER_ID"],
        ),
        ({"task": 3}, ["task", "got 3"]),
        ({"runtime": {"number": -1}}, ["runtime.number", "greater than or equal to 0"]),
        ({"checkpoint": {"period": None}}, ["checkpoint.period", "None"]),
    ],
)
def test_what_is_wrong_is_named(tables, parts):
    with pytest.raises(SettingError) as error:
        parse_settings(tables, source="peer.toml")
    for part in ["peer.toml", *parts]:
        assert part in str(error.value)


FILE = """\
[training]
learning_rate = -1
[exchange]
codec = "int1"
[task]
name = "digits"
options = { peers = 4 }
[[outgoing]]
kind = "clip"
norm = 1
[[outgoing]]
kind = "noise"
deviaton = 0.1
[view]
size = 3
exchanged = 9
"""


def test_mistakes_in_a_file_are_told_with_line_and_column(tmp_path: Path):
    path = tmp_path / "peer.toml"
    path.write_text(FILE)
    with pytest.raises(SettingError) as error:
        load_settings(path)
    places = [line.removeprefix(str(path)).partition(": ")[0] for line in str(error.value).splitlines()]
    assert sorted(places) == [":11:1", ":13:1", ":14:1", ":2:1", ":4:1"]
    said = str(error.value)
    assert f"{path}:13:1: outgoing.1.deviaton: unknown key 'deviaton'. Did you mean 'deviation'?" in said
    assert f"{path}:14:1: view: view.exchanged (9) is larger than view.size (3)\n" in f"{said}\n"


def test_in_an_inline_table_the_column_is_that_of_the_key(tmp_path: Path):
    path = tmp_path / "peer.toml"
    path.write_text('training = { batch_size = 4, momentum = 7 }\n  task.nme = "digits"\n')
    with pytest.raises(SettingError) as error:
        load_settings(path)
    assert f"{path}:1:30: training.momentum: " in str(error.value)
    assert f"{path}:2:3: task.nme: unknown key 'nme'. Did you mean 'name'?" in str(error.value)


def test_what_a_flag_gave_is_not_blamed_on_the_file(tmp_path: Path):
    path = tmp_path / "peer.toml"
    path.write_text("[training]\nlearning_rate = 0.5\nmomentum = 3\n")
    with pytest.raises(SettingError) as error:
        load_settings(path, {"training": {"learning_rate": -2.0}, "task": {"name": 3}})
    lines = str(error.value).splitlines()
    assert len(lines) == 3
    assert any(line.startswith("--training-learning-rate: training.learning_rate: ") for line in lines)
    assert any(line.startswith("--task: task.name: ") for line in lines)
    assert any(line.startswith(f"{path}:3:1: training.momentum: ") for line in lines)


def test_everything_wrong_is_named_at_once():
    with pytest.raises(SettingError) as error:
        parse_settings({"training": {"momentum": 2}, "view": {"size": 0}, "x": {}}, source="here")
    assert all(part in str(error.value) for part in ("training.momentum", "view.size", "x: unknown key"))


def test_every_number_has_a_range():
    """Whatever number is set, a wildly wrong one is refused by name rather than misbehaving later."""
    for table, field in single_tables().items():
        assert issubclass(field.annotation, BaseModel)
        for key, setting in field.annotation.model_fields.items():
            if setting.annotation in (int, float):
                with pytest.raises(SettingError, match=f"{table}.{key}"):
                    parse_settings({table: {key: -1}}, source="here")


def test_files_that_cannot_be_read_are_named(tmp_path: Path):
    with pytest.raises(SettingError, match="there is no settings file"):
        load_settings(tmp_path / "peer.toml")
    with pytest.raises(SettingError, match="cannot be read"):
        load_settings(tmp_path)
    (tmp_path / "peer.toml").write_text("training = {\n")
    with pytest.raises(SettingError, match=r"peer\.toml:1:13: not TOML"):
        load_settings(tmp_path / "peer.toml")
    (tmp_path / "peer.toml").write_bytes(b"\x80\xfe")
    with pytest.raises(SettingError, match=r"peer\.toml: not TOML"):
        load_settings(tmp_path / "peer.toml")


def test_overrides_take_the_place_of_the_file(tmp_path: Path):
    path = tmp_path / "peer.toml"
    path.write_text('[training]\nlearning_rate = 0.5\nmomentum = 0.3\n[task]\noptions = { a = 1, b = "x" }\n')
    got = load_settings(path, {"training": {"learning_rate": 2.0}, "task": {"options": {"b": "y"}}})
    assert (got.training.learning_rate, got.training.momentum) == (2.0, 0.3)
    assert got.task.options == {"a": 1, "b": "y"}
    path.write_text("training = 3\n")
    with pytest.raises(SettingError, match="training"):
        load_settings(path, {"training": {"learning_rate": 2.0}})


def test_settings_cannot_be_changed_in_place():
    with pytest.raises(ValueError, match="frozen"):
        PeerSettings().training.learning_rate = 3.0


@pytest.mark.parametrize(
    ("tables", "peak"),
    [
        ({}, None),
        ({"keyboard": {"enabled": True}}, 3.0),
        ({"keyboard": {"enabled": True}, "gate": {"peak": 9.0}}, 9.0),
    ],
)
def test_single_numbers_are_limited_for_keyboards(tables, peak):
    settings = parse_settings({"task": {"name": "next-word"}, **tables}, source="a test")
    assert settings.gate_in_force.peak == peak
    assert settings.gate_in_force.radius == settings.gate.radius
