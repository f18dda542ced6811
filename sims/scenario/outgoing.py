"""The pipeline of rows that leave a scenario's nodes."""

from __future__ import annotations

from gossipfl.algorithms.messages import Behaviour
from gossipfl.codecs import codec
from gossipfl.errors import SettingError
from gossipfl.outgoing import Pipeline, pipeline_of
from gossipfl.settings.codec_names import parse_model_codec_name
from gossipfl.settings.outgoing import codec_name_in
from sims.errors import InvalidScenario
from sims.scenario.scenario import Scenario

__all__ = ["outgoing_of", "outgoing_of_messages"]


def outgoing_of(scenario: Scenario) -> Pipeline:
    """Make the pipeline of rounds: the tables ``[[outgoing]]``, and ``algorithm.codec``, the short form of one.

    An algorithm with a parameter ``codec`` compresses what it says by itself, and nothing else.
    """
    return _pipeline(scenario, scenario.algorithm.codec_of_all)


def outgoing_of_messages(scenario: Scenario, behaviour: Behaviour) -> Pipeline:
    """Make the pipeline of messages.

    Raises
    ------
    InvalidScenario
        If the messages of the algorithm cannot go through it.
    """
    pipeline, name = _pipeline(scenario, behaviour.codec), scenario.algorithm.name
    if pipeline.mask is not None:
        raise InvalidScenario(
            f"outgoing has a mask, which all nodes of a round share, and {name} knows no rounds",
            remedy="Leave it out; gossip learning sends parts of models with sharing.kind = 'subsampled'.",
        )
    if pipeline.is_lossless:
        return pipeline
    if pipeline.codec is not None:
        _require_model_codec(pipeline.codec.name)
    if behaviour.sharing.kind != "whole":
        raise InvalidScenario("outgoing is for whole models", remedy="Leave it out, or leave out sharing.")
    if behaviour.lost == "returned":
        raise InvalidScenario(
            f"{name} moves mass between its nodes, which {', '.join(pipeline.names)} would change",
            expected="models sent in full",
            remedy="Leave out outgoing, or choose gossip_learning or ad_psgd.",
        )
    return pipeline


def _require_model_codec(name: str) -> None:
    try:
        parse_model_codec_name(name)
    except SettingError as error:
        raise InvalidScenario(
            f"outgoing: {error.what}", expected=error.expected, got=error.got, remedy=error.remedy
        ) from None


def _pipeline(scenario: Scenario, short: str | None) -> Pipeline:
    if any(getattr(each, "epsilon", None) for each in scenario.outgoing):
        raise InvalidScenario(
            "outgoing: a simulation keeps no ledger of a privacy budget",
            remedy="Leave out epsilon; `gossipfl privacy` says what is given away.",
        )
    name = codec_name_in(scenario.outgoing) or short
    return pipeline_of(scenario.outgoing, codec=None if name is None else codec(name))
