"""A compressor of one's own, by name: the same rows in simulations and on the wire, and mistakes named."""

import sys
from pathlib import Path

import pytest
import torch

import sims
from gossipfl.codecs import codec, model_codec
from gossipfl.codecs.registry import own_source
from gossipfl.errors import SettingError, UnknownCodec
from gossipfl.settings import parse_settings
from gossipfl.settings.codec_names import GROUP

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture
def beside(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)


def test_what_is_compressed_is_what_is_decoded(beside):
    made, rows = codec("coarse:Coarse:16"), torch.randn(5, 40, generator=torch.Generator().manual_seed(1))
    keys = torch.zeros(5, dtype=torch.int64)
    for row, compressed in zip(rows, made.compress(rows, keys=keys), strict=True):
        payload = made.encode(row)
        assert torch.equal(made.decode(payload, 40), compressed)
        assert sum(each.data.nbytes for each in payload) == made.payload_bytes(40)
        step = (row.max() - row.min()) / 15
        assert (compressed - row).abs().max() <= step / 2 + 1e-6


def test_scenarios_and_settings_of_peers_take_it(beside):
    overrides = [
        'algorithm={name="deep_squeeze",codec="coarse:Coarse:200"}',
        "stop.rounds=4",
        "evaluate.every=4",
    ]
    coarse = sims.run("digits", overrides=[*overrides, "topology.name=ring"], compile_when="never")
    assert coarse.scenario.algorithm.codec == "coarse:Coarse:200"
    assert (
        parse_settings({"exchange": {"codec": "coarse:Coarse:200"}}, source="a test").codec
        == "coarse:Coarse:200"
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("coarse:Fine:16", "has no class 'Fine'"),
        ("nowhere:Coarse", "there is no module 'nowhere'"),
        ("coarse:Coarse:much", "with numbers after it"),
        ("coarse:Coarse:1:2:3", "cannot be made; got TypeError"),
        ("json:JSONDecoder", "json:JSONDecoder is not a codec"),
        ("coarse:Coarse", "has another name; expected name = 'coarse:Coarse'"),
    ],
)
def test_mistakes_are_named(beside, name, words):
    with pytest.raises((UnknownCodec, SettingError), match=words):
        codec(name)


def test_an_installed_package_offers_it_by_a_plain_name(installed):
    source = (EXAMPLES / "coarse.py").read_text(encoding="utf-8").replace("coarse:Coarse", "coarse")
    installed("coarse_codec", source, {GROUP: {"coarse": "coarse_codec:Coarse", "broken": "nowhere:Codec"}})
    made = codec("coarse:16")
    assert (made.name, made.levels) == ("coarse:16", 16)
    assert own_source(made) == source  # which members of rounds agree on
    assert parse_settings({"exchange": {"codec": "coarse:200"}}, source="a test").codec == "coarse:200"
    assert model_codec("coarse:200", size=1000, own=True).name == "coarse:200"
    with pytest.raises(UnknownCodec, match="no bundled codec"):
        model_codec("coarse:200", size=1000)
    with pytest.raises(UnknownCodec, match=r"or coarse or broken; got 'coarze:16'. Did you mean 'coarse'"):
        codec("coarze:16")
    with pytest.raises(UnknownCodec, match="'broken' of the installed nowhere:Codec cannot be imported"):
        codec("broken")


@pytest.mark.parametrize("name", ["stranger:Codec", "stranger:Codec:16", "os:system", "antigravity:x:1"])
def test_a_name_from_a_frame_imports_nothing(name, tmp_path, monkeypatch):
    (tmp_path / "stranger.py").write_text("raise AssertionError('imported at the word of a stranger')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    loaded = set(sys.modules)
    with pytest.raises(UnknownCodec, match="no bundled codec"):
        model_codec(name, size=1000)
    assert set(sys.modules) == loaded
