"""Tables [[outgoing]] in peer.toml and scenarios: the same words, the same order, the same mistakes by name."""

import pytest

from gossipfl.codecs import codec
from gossipfl.errors import SettingError
from gossipfl.outgoing import Clip, GaussianNoise, SharedMask
from gossipfl.peer.assembly import outgoing_of
from gossipfl.settings import dump_settings, load_settings, parse_settings
from sims.errors import InvalidScenario
from sims.scenario import parse_scenario
from sims.scenario.outgoing import outgoing_of as outgoing_of_scenario
from tests.integration.tasks import blobs

TABLES = """
[[outgoing]]
kind = "clip"
norm = 2.0

[[outgoing]]
kind = "noise"
deviation = 0.5

[[outgoing]]
kind = "mask"
share = 0.25

[[outgoing]]
kind = "codec"
name = "int8:64"
"""

PEER = '[rounds]\nalgorithm = "d_psgd"\n'
SCENARIO = '[population]\nnodes = 4\n[algorithm]\nname = "d_psgd"\n'


def read_peer(text, tmp_path):
    path = tmp_path / "peer.toml"
    path.write_text(text, encoding="utf-8")
    return load_settings(path)


def test_the_same_tables_are_read_by_peers_and_scenarios(tmp_path):
    settings = read_peer(PEER + TABLES, tmp_path)
    expected = (Clip(2.0), GaussianNoise(0.5), SharedMask(0.25))
    pipeline = outgoing_of(settings, blobs())
    assert (pipeline.transformations, pipeline.codec) == (expected, codec("int8:64"))
    assert outgoing_of_scenario(parse_scenario(SCENARIO + TABLES)) == pipeline
    assert pipeline.names == ("clip:2.0", "noise:0.5", "mask:0.25", "int8:64")


def test_settings_are_written_and_read_again(tmp_path):
    for text in ("", TABLES):
        settings = read_peer(PEER + text, tmp_path)
        assert read_peer(dump_settings(settings), tmp_path) == settings


def test_the_codecs_short_form_means_the_same(tmp_path):
    settings = read_peer(
        '[exchange]\ncodec = "bfloat16"\n[[outgoing]]\nkind = "clip"\nnorm = 1.0\n', tmp_path
    )
    assert outgoing_of(settings, blobs()).names == ("clip:1.0", "bfloat16")
    scenario = parse_scenario(SCENARIO + 'codec = "top:0.1"\n[[outgoing]]\nkind = "clip"\nnorm = 1.0\n')
    assert outgoing_of_scenario(scenario).names == ("clip:1.0", "top:0.1")


MISTAKES = {
    "a table after the codec": (
        '[[outgoing]]\nkind="codec"\nname="int8"\n[[outgoing]]\nkind="clip"\nnorm=1.0',
        "a table after its codec, which must be the last",
    ),
    "two masks": ('[[outgoing]]\nkind="mask"\nshare=0.1\n' * 2, "more than one mask"),
    "an unknown kind": ('[[outgoing]]\nkind="clap"\nnorm=1.0', "clap"),
    "an unknown codec": ('[[outgoing]]\nkind="codec"\nname="zip"', "no codec has this name"),
    "a norm of zero": ('[[outgoing]]\nkind="clip"\nnorm=0.0', "greater than 0"),
    "a key too many": ('[[outgoing]]\nkind="clip"\nnorm=1.0\nnrom=2.0', "nrom"),
}


@pytest.mark.parametrize(("text", "said"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_named_in_both(text, said, tmp_path):
    with pytest.raises(SettingError, match=said):
        read_peer(PEER + text, tmp_path)
    with pytest.raises(InvalidScenario, match=said):
        parse_scenario(SCENARIO + text)


def test_a_codec_is_given_once(tmp_path):
    codec_table = '[[outgoing]]\nkind = "codec"\nname = "int8"\n'
    with pytest.raises(SettingError, match="given twice"):
        read_peer('[exchange]\ncodec = "bfloat16"\n' + codec_table, tmp_path)
    with pytest.raises(InvalidScenario, match="given twice"):
        parse_scenario(SCENARIO + 'codec = "bfloat16"\n' + codec_table)


def test_what_gossip_cannot_send_is_refused():
    with pytest.raises(SettingError, match="which all nodes of a round share, and this peer gossips"):
        parse_settings({"outgoing": [{"kind": "mask", "share": 0.1}]}, source="a test")
    with pytest.raises(SettingError, match="needs error feedback"):
        parse_settings({"outgoing": [{"kind": "codec", "name": "top:0.1"}]}, source="a test")
