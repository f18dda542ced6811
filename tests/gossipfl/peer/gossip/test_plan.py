"""Algorithms of peers that gossip, from their settings, with every mistake named."""

import pytest

from gossipfl.algorithms import find_algorithm
from gossipfl.errors import SettingError
from gossipfl.peer.gossip.plan import gossip_algorithm, gossip_parameters, in_full
from gossipfl.settings import parse_settings
from gossipfl.settings.learning import USUAL_PARAMETERS


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"gossip": {"merge": "AVG"}}, "gossip.merge of .*'RW', 'MU' or 'UM'; got 'AVG'"),
        ({"gossip": {"mrge": "MU"}}, "takes no 'mrge'; .*Did you mean 'merge'"),
        ({"gossip": {"merge": "RW", "merge_limit": 3}}, "merge_limit is without effect .*merge = 'RW'"),
        ({"gossip": {"merge_limit": float("inf")}}, "gossip.merge_limit .*got inf"),
        ({"gossip": {"algorithm": "push_sum"}}, "gossip.algorithm: push_sum runs in the simulator only"),
        (
            {"gossip": {"sharing": {"kind": "partitioned"}}, "exchange": {"codec": "int8"}},
            "gossip.sharing sends parts of models as they are; expected exchange.codec = 'float32'; got 'int8'",
        ),
        (
            {"gossip": {"sharing": {"kind": "subsampled"}}, "exchange": {"codec": "auto"}},
            "expected exchange.codec = 'float32'; got 'auto'",
        ),
        (
            {"gossip": {"sharing": {"kind": "partitioned", "parts": 257}}},
            "no room for so many ages; expected at most 256; got 257",
        ),
        ({"gossip": {"algorithm": "adpsgd"}}, "no algorithm 'adpsgd'; .*Did you mean 'ad_psgd'"),
        (
            {"gossip": {"algorithm": "d_psgd"}},
            "d_psgd runs in rounds; expected one that is driven by messages",
        ),
        ({"gossip": {"algorithm": "ad_psgd", "merge": "UM"}}, "ad_psgd takes no 'merge'"),
        ({"gossip": {"exchange": "pull"}}, "gossip.exchange is only for simulations. .* use exchange.mode"),
        (
            {"gossip": {"algorithm": "ad_psgd"}, "exchange": {"mode": "push"}},
            "expected exchange.mode = 'push-pull'; got 'push'",
        ),
        (
            {"gossip": {"algorithm": "ad_psgd"}, "exchange": {"merges_per_training": 4}},
            "expected exchange.merges_per_training = 1; got 4",
        ),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(tables, words):
    with pytest.raises(SettingError, match=words):
        gossip_algorithm(parse_settings(tables, source="peer.toml"))


def test_settings_of_exchanges_decide_what_simulations_declare():
    settings = parse_settings({"exchange": {"mode": "push", "codec": "int8"}}, source="here")
    algorithm = gossip_algorithm(settings)
    assert (algorithm.exchange, algorithm.codec) == ("push", None)
    assert set(gossip_parameters(settings)) == {"merge", "weighting", "merge_limit"}


def test_keys_that_every_table_had_are_no_mistake_where_they_had_no_effect():
    tables = {"gossip": {"algorithm": "ad_psgd", "merge": "MU", "weighting": "age", "merge_limit": None}}
    assert gossip_algorithm(parse_settings(tables, source="here")) == find_algorithm("ad_psgd")()


def test_only_settings_as_declared_pass_unchecked():
    """The doctor tries an algorithm, which needs torch, unless there is nothing that could be wrong."""
    usual = parse_settings({}, source="here")
    assert usual.gossip.is_as_declared
    declared = gossip_parameters(usual)
    assert {key: declared[key][0] for key in USUAL_PARAMETERS} == USUAL_PARAMETERS
    assert in_full(usual).gossip.is_as_declared
    for changed in ({"merge": "UM"}, {"merge_limit": 3}, {"mrge": "MU"}, {"algorithm": "ad_psgd"}):
        assert not parse_settings({"gossip": changed}, source="here").gossip.is_as_declared
