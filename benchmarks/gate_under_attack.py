"""Accuracy of the honest in gossip learning, by attack, share of hostile nodes and defence.

    python benchmarks/gate_under_attack.py --nodes 1000 --shares 0.1 0.2 0.3 0.4

prints a table; with --attacks and --defences, parts of it. A run with gates of 1,000 nodes takes 0.3 ms a message.
With --keep FILE each figure is also appended to a file, and those that are there are not measured again; with
--part K/M only every M-th is measured, from the K-th on, for M processes side by side (each with a file of its own).
`python docs/make_robustness_tables.py gate FILE...` makes the tables of docs/gate.md of such files.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from pathlib import Path

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
    "ALIE, z by its formula": "name = 'alie'",
    "ALIE, z = 1.5": "name = 'alie'\nfactor = 1.5",
    "ALIE, z = 4": "name = 'alie'\nfactor = 4.0",
    "IPM, ε = 0.1": "name = 'ipm'",
    "IPM, ε = 0.9": "name = 'ipm'\nfactor = 0.9",
    "dissensus": "name = 'dissensus'",
    "mimic": "name = 'mimic'",
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


def cells(given):
    """All figures of the table: attack, defence, share."""
    yield from ((None, defence, 0.0) for defence in given.defences)
    for share, defence, attack in itertools.product(given.shares, given.defences, given.attacks):
        yield attack, defence, share


def measured(given, cell, traces):
    """One figure, with what it is of."""
    attack, defence, share = cell
    started = time.perf_counter()
    how = {"nodes": given.nodes, "rounds": given.rounds, "seed": given.seed, "traces": traces}
    accuracy, decisions = points(attack, share, defence, **how)
    of = {"nodes": given.nodes, "rounds": given.rounds, "seed": given.seed}
    found = {**of, "attack": attack, "defence": defence, "share": share}
    seconds = round(time.perf_counter() - started, 1)
    return {**found, "accuracy": round(accuracy, 2), "decisions": decisions, "seconds": seconds}


def is_of(figure, given, cell):
    """Whether a figure that was kept is this one."""
    attack, defence, share = cell
    wanted = [given.nodes, given.rounds, given.seed, attack, defence, share]
    return [figure[key] for key in ("nodes", "rounds", "seed", "attack", "defence", "share")] == wanted


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.1, 0.2, 0.3, 0.4])
    parser.add_argument("--attacks", nargs="*", choices=ATTACKS, default=list(ATTACKS))
    parser.add_argument("--defences", nargs="+", choices=DEFENCES, default=list(DEFENCES))
    parser.add_argument("--decisions", action="store_true", help="print the gates' decisions too")
    parser.add_argument("--keep", type=Path, help="file of JSON lines to which figures are appended")
    parser.add_argument("--part", default="0/1", help="K/M: measure every M-th figure from the K-th on")
    given = parser.parse_args()
    first, step = map(int, given.part.split("/"))
    kept = given.keep and given.keep.exists() and given.keep.read_text("utf-8").splitlines()
    known, traces = [json.loads(line) for line in kept or []], Traces()
    print("| attack | defence | hostile | accuracy of the honest | s |\n|---|---|---|---|---|")
    for cell in itertools.islice(cells(given), first, None, step):
        found = next((each for each in known if is_of(each, given, cell)), None)
        if found is None:
            found = measured(given, cell, traces)
            if given.keep:
                with given.keep.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(found) + "\n")
        print(
            f"| {found['attack'] or 'nobody'} | {found['defence']} | {found['share']:.0%} "
            f"| {found['accuracy']:.1f} | {found['seconds']} |",
            found["decisions"] if given.decisions else "",
            flush=True,
        )


if __name__ == "__main__":
    main()
