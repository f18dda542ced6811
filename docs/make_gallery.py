"""Make docs/topology-gallery.md and its pictures from the catalogue.

python docs/make_gallery.py          writes the page and docs/images/topology/
python docs/make_gallery.py --check  exits with 1 if the page is not what would be written
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from topology import drawing, spectrum
from topology.catalogue import FAMILIES, Family, NamedTopology, build

DOCS = Path(__file__).parent
PAGE = DOCS / "topology-gallery.md"
PICTURES = Path("images/topology")

# Same size, so that what differs is the topology.
COMPARED = (
    "ring:25",
    "torus:5x5",
    "random-regular:25,degree=4,seed=1",
    "exponential:25",
    "one-peer-exponential:25",
    "random-matching:25,seed=1",
    "epidemic:25,s=4,seed=1",
    "base:25,k=1",
    "base:25,k=2",
    "base:25,k=4",
)
ANIMATED = "base:24,k=1"
NOT_DRAWN = frozenset({"adaptive-matching", "file", "matrix"})

INTRODUCTION = """# A gallery of topologies

Every family of `topology.catalogue`, drawn by `gossipfl topology draw` and measured by
`gossipfl topology compare`. Sequences change from round to round: each panel is a round. This page is
written by `docs/make_gallery.py`.

* **degree**: the most models a node sends in a round.
* **p/τ**: share of disagreement that is sure to go, per round (`topology.spectrum.mixing_rate`; for most
  random sequences in expectation). Averaging exactly every τ rounds gives 1/τ.
* **rounds**: until the consensus distance is below 10⁻⁶, from values that begin independent with variance 1.
  Rounds of different rows are for different numbers of nodes; the plots below compare at 25 nodes.

| picture | topology | nodes | degree | p/τ | rounds | from |
|---|---|---|---|---|---|---|
"""

PLOTS = """
## The same 25 nodes

What is left of disagreement after each round. A dot is exact consensus.

![Consensus curves of ten topologies on 25 nodes]({pictures}/consensus-curves.svg)

What a degree buys. Diamonds change from round to round.

![Degree against the share of disagreement removed per round]({pictures}/degree-against-gap.svg)

## A sequence at work

`gossipfl topology draw {animated} base.gif`: half the nodes begin at −1, half at +1; row i of the heat map is
what node i's value is made of. With one neighbour a round, 24 nodes agree exactly after {period} rounds.

![The base graph brings 24 nodes to exact consensus]({pictures}/mixing.gif)
"""


def row(family: Family) -> str:
    named = build(family.example)
    rate = spectrum.mixing_rate(named.sequence)
    rounds = spectrum.rounds_to_consensus(named.sequence, 1e-6)
    cells = [
        f'<img src="{PICTURES}/{family.name}.svg" alt="{family.example}" width="{width(named)}">',
        f"`{family.example}`<br>{family.summary}",
        f"{named.sequence.n}",
        f"{named.sequence.degree}",
        f"{rate.p / rate.rounds:.3g}",
        f"{rounds}",
        family.citation,
    ]
    return f"| {' | '.join(cells)} |\n"


def width(named: NamedTopology) -> int:
    return 150 if named.sequence.period == 1 else 220


def page() -> str:
    rows = "".join(row(family) for family in FAMILIES if family.name not in NOT_DRAWN)
    period = build(ANIMATED).sequence.period
    return INTRODUCTION + rows + PLOTS.format(pictures=PICTURES, animated=ANIMATED, period=period)


def draw_all(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for family in FAMILIES:
        if family.name not in NOT_DRAWN:
            drawing.save(drawing.draw_network(build(family.example)), folder / f"{family.name}.svg")
    compared = {expression: build(expression).sequence for expression in COMPARED}
    curves = {name: spectrum.expected_consensus_curve(s, 40) for name, s in compared.items()}
    drawing.save(drawing.plot_consensus_curves(curves), folder / "consensus-curves.svg")
    points = []
    for name, sequence in compared.items():
        rate = spectrum.mixing_rate(sequence)
        changes = sequence.period != 1
        points.append(
            drawing.DegreeAndGap(name=name, degree=sequence.degree, gap=rate.p / rate.rounds, changes=changes)
        )
    drawing.save(drawing.plot_degree_against_gap(points), folder / "degree-against-gap.svg")
    animated = build(ANIMATED)
    drawing.animate_mixing(animated, folder / "mixing.gif", rounds=animated.sequence.period or 8)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say whether the page is up to date")
    if parser.parse_args().check:
        fresh = PAGE.read_text(encoding="utf-8") == page()
        print("up to date" if fresh else "out of date: run python docs/make_gallery.py")
        return 0 if fresh else 1
    draw_all(DOCS / PICTURES)
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
