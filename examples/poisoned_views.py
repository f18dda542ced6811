"""View poisoning in a scenario: whom members know while hostile ones push themselves, as a topology of one's own.

The overlay is that of real peers, Brahms (`topology.sampling`), some periods after hostile members began to push
themselves many times as often as the honest, and to tell of each other alone. Its last members are hostile.
Gossip over it, and let the same members lie in their messages too::

    python examples/poisoned_views.py --nodes 200 --hostile 0.2 --attack sign_flip
"""

import argparse
from typing import Annotated, Literal

import networkx as nx
import numpy as np

import sims
from topology.sampling import BrahmsSettings, brahms_overlay, brahms_period, draw_brahms_period


def poisoned_views(
    n: int,
    hostile: Annotated[float, "share of members that are hostile: the last ones"] = 0.1,
    multiple: Annotated[int, "how often they push themselves, over the rate of the honest"] = 10,
    periods: Annotated[int, "how long they have done so"] = 30,
    counted: Annotated[Literal["pushes", "nothing"], "what real peers count, or plain Brahms"] = "pushes",
    held: Annotated[Literal["samples", "views"], "what members gossip with"] = "samples",
    seed: int = 0,
) -> nx.DiGraph:
    """Directed graph from each member to those that it holds; hostile ones turn to random honest ones."""
    generator = np.random.default_rng(seed)
    settings = BrahmsSettings() if counted == "pushes" else BrahmsSettings(counters=1)
    overlay = brahms_overlay(n, generator=generator, hostile=hostile, settings=settings)
    for _ in range(periods):
        overlay = brahms_period(overlay, draw_brahms_period(overlay, generator, multiple=multiple))
    rows = overlay.samples if held == "samples" else overlay.views
    honest = np.flatnonzero(~overlay.hostile)
    graph = nx.DiGraph()
    graph.add_nodes_from(range(n))
    for member in range(n):
        others = generator.choice(honest, size=rows.shape[1]) if overlay.hostile[member] else rows[member]
        graph.add_edges_from((member, int(other)) for other in others if other >= 0 and other != member)
    return graph


def main() -> None:
    """Gossip over such an overlay, without and with the gate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=200)
    parser.add_argument("--hostile", type=float, default=0.1)
    parser.add_argument("--multiple", type=int, default=10)
    parser.add_argument("--attack", default="sign_flip")
    parser.add_argument("--rounds", type=int, default=60)
    given = parser.parse_args()
    liars = list(range(given.nodes - round(given.hostile * given.nodes), given.nodes))
    graph = poisoned_views(given.nodes, hostile=given.hostile, multiple=given.multiple)
    known = [other for member, other in graph.edges if member not in liars]
    print(f"{np.isin(known, liars).mean():.1%} of what honest members hold is hostile")
    for gate in ("{enabled=false}", "{}"):
        result = sims.run(
            "digits",
            overrides=[
                f"population.nodes={given.nodes}",
                f"topology={{name='poisoned_views:poisoned_views',hostile={given.hostile},multiple={given.multiple}}}",
                f"modules='{__file__.rpartition('/')[0] or '.'}'",
                "algorithm.exchange=push-pull",
                f"stop.rounds={given.rounds}",
                f"evaluate.every={given.rounds}",
                f"attack={{name='{given.attack}',nodes={liars}}}",
                f"gate={gate}",
            ],
        )
        accuracy = result.evaluations["accuracy_mean"][-1]
        print(f"gate = {gate}: accuracy of the honest {accuracy:.1%}, decisions {result.summary['gate']}")


if __name__ == "__main__":
    main()
