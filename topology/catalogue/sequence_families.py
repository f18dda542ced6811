"""Families of sequences, which change from round to round."""

from __future__ import annotations

from topology.catalogue.family import Family, Parameter

__all__ = ["SEQUENCE_FAMILIES"]

_N = Parameter("n", "whole number")
_K = Parameter("k", "whole number", 1)
_SEED = Parameter("seed", "whole number", 0)
_SHAPE = Parameter("shape", "shape")
_DEGREE = Parameter("degree", "whole number")

_YING = "Ying et al., NeurIPS 2021"
_TAKEZAWA = "Takezawa et al., NeurIPS 2023"
_SONG = "Song et al., NeurIPS 2022"

SEQUENCE_FAMILIES: tuple[Family, ...] = (
    Family(
        name="one-peer-exponential",
        builder="topology.sequences:one_peer_exponential",
        kind="sequence",
        parameters=(_N,),
        summary="node i sends to i + 2^t only: exact after log₂ n rounds if n is a power of two",
        citation=_YING,
        example="one-peer-exponential:16",
    ),
    Family(
        name="k-peer-exponential",
        builder="topology.sequences:k_peer_exponential",
        kind="sequence",
        parameters=(_N, _K),
        summary="node i sends to i + j (k+1)^t for j up to k: exact if n is a power of k + 1",
        citation=_TAKEZAWA,
        example="k-peer-exponential:27,k=2",
    ),
    Family(
        name="hyper-hypercube",
        builder="topology.sequences:hyper_hypercube",
        kind="sequence",
        parameters=(_N, _K),
        summary="cliques along each digit of n: exact if no prime factor of n is above k + 1",
        citation=_TAKEZAWA,
        example="hyper-hypercube:24,k=2",
    ),
    Family(
        name="simple-base",
        builder="topology.sequences:simple_base",
        kind="sequence",
        parameters=(_N, _K),
        summary="exact for every n at degree k, from n written in base k + 1",
        citation=_TAKEZAWA,
        example="simple-base:15,k=1",
    ),
    Family(
        name="base",
        builder="topology.sequences:base",
        kind="sequence",
        parameters=(_N, _K),
        summary="exact for every n at degree k, in at most 2 log_{k+1} n + 2 rounds",
        citation=_TAKEZAWA,
        example="base:25,k=2",
    ),
    Family(
        name="moshpit",
        builder="topology.sequences:moshpit",
        kind="sequence",
        parameters=(_SHAPE,),
        summary="averages along one axis of a grid after another",
        citation="Ryabinin et al., NeurIPS 2021",
        example="moshpit:4x4x2",
    ),
    Family(
        name="random-matching",
        builder="topology.sequences:random_matching",
        kind="random sequence",
        parameters=(_N, _SEED),
        summary="a fresh random pairing every round",
        citation="Boyd, Ghosh, Prabhakar & Shah, IEEE Trans. Inf. Theory 2006",
        example="random-matching:16,seed=1",
    ),
    Family(
        name="epidemic",
        builder="topology.sequences:epidemic",
        kind="random sequence",
        parameters=(_N, Parameter("s", "whole number"), _SEED, Parameter("mode", "word", "oracle")),
        summary="a fresh random s-regular graph (oracle), or s random receivers each (local), every round",
        citation="de Vos et al., NeurIPS 2023",
        example="epidemic:24,s=3,seed=1",
    ),
    Family(
        name="equi-static",
        builder="topology.sequences:equi_static",
        kind="sequence",
        parameters=(_N, _DEGREE, _SEED, Parameter("directed", "yes or no", True)),  # noqa: FBT003
        summary="the mean of random circulants: mixes at a rate that does not depend on n",
        citation=_SONG,
        example="equi-static:16,degree=4,seed=1",
    ),
    Family(
        name="equi-dynamic",
        builder="topology.sequences:equi_dynamic",
        kind="random sequence",
        parameters=(_N, _SEED, Parameter("directed", "yes or no", True)),  # noqa: FBT003
        summary="one random circulant a round: one neighbour each, at a rate that does not depend on n",
        citation=_SONG,
        example="equi-dynamic:16,seed=1",
    ),
    Family(
        name="matcha",
        builder="topology.sequences:matcha",
        kind="random sequence",
        parameters=(Parameter("topology", "topology"), Parameter("budget", "number", 0.5), _SEED),
        summary="matchings of a graph, each switched on as often as it earns its messages",
        citation="Wang et al., Indian Control Conference 2019",
        example="matcha:(random-regular:16,degree=4,seed=1),budget=0.5,seed=1",
    ),
)
