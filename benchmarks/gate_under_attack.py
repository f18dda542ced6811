"""Accuracy of the honest in gossip learning, by attack, share of hostile nodes and defence.

    python benchmarks/gate_under_attack.py --nodes 1000 --shares 0.1 0.2 0.3 0.4

prints a table; with --attacks and --defences, parts of it. A run with gates of 1,000 nodes takes 0.3 ms a message.
"""

from __future__ import annotations

import argparse
import time

from sims.running.run import run
from sims.scenario import parse_scenario
from sims.world.trace_cache import Traces

SCENARIO = """
seed = {seed}
topology = "random-regular:degree=20"
[population]
nodes = {nodes}
[task]
name = "digits"
samples_per_node = 30
[algorithm]
name = "gossip_learning"
{acceptance}
[training]
learning_rate = 0.2
batch_size = 30
[stop]
rounds = {rounds}
[evaluate]
every = {rounds}
nodes = 300
{gate}
{attack}
"""

ATTACKS = {
    "nothing that is finite": "name = 'scaled'\nscale = 1e39",
    "sign flip": "name = 'sign_flip'",
    "noise, as long as the model": "name = 'scaled_noise'",
    "constant, 100": "name = 'constant'",
    "scaled, ten times": "name = 'scaled'",
    "a little per step, 5 %": "name = 'little_per_step'",
    "own model, age + 2⁴⁰": "name = 'age_inflation'",
    "first model, age + 2⁴⁰": "name = 'age_inflation'\nof = 'first'",
    "own model of 10 versions ago": "name = 'replay'",
    "first model (stale)": "name = 'stale'",
    "random (free rider)": "name = 'random'",
    "no training (echo)": "name = 'echo'",
    "false labels": "name = 'label_flip'",
}
DEFENCES = {
    "none": {},
    "history": {"acceptance": "acceptance = { within = 'history' }"},
    "gate": {"gate": "[gate]"},
}


def points(attack, share, defence, *, nodes, rounds, seed, traces):
    """Mean accuracy of the honest in percent, and the decisions of their gates."""
    section = f"[attack]\n{ATTACKS[attack]}\nshare = {share}" if attack else ""
    parts = {"acceptance": "", "gate": "", **DEFENCES[defence]}
    text = SCENARIO.format(seed=seed, nodes=nodes, rounds=rounds, attack=section, **parts)
    result = run(parse_scenario(text), compile_when="never", traces=traces)
    return 100 * float(result.evaluations["accuracy_mean"][-1]), result.summary["gate"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.1, 0.2, 0.3, 0.4])
    parser.add_argument("--attacks", nargs="+", choices=ATTACKS, default=list(ATTACKS))
    parser.add_argument("--defences", nargs="+", choices=DEFENCES, default=list(DEFENCES))
    parser.add_argument("--decisions", action="store_true", help="print the gates' decisions too")
    given = parser.parse_args()
    how = {"nodes": given.nodes, "rounds": given.rounds, "seed": given.seed, "traces": Traces()}
    started = time.perf_counter()
    print("| attack | defence |", " | ".join(f"{share:.0%}" for share in given.shares), "|")
    print("|---" * (2 + len(given.shares)) + "|")
    for defence in given.defences:
        found, decisions = points(None, 0, defence, **how)
        print(f"| nobody | {defence} | {found:.1f} |", decisions if given.decisions else "", flush=True)
    for attack in given.attacks:
        for defence in given.defences:
            found = [points(attack, share, defence, **how) for share in given.shares]
            cells = " | ".join(f"{each:.1f}" for each, _ in found)
            print(f"| {attack} | {defence} | {cells} |", found[-1][1] if given.decisions else "", flush=True)
    print(f"\n{given.nodes} nodes, {given.rounds} rounds, {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
