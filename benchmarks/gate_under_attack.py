"""Accuracy of the honest, by attack, share of hostile nodes and defence: of gossip learning, and rules in rounds.

    python benchmarks/gate_under_attack.py --nodes 1000 --shares 0.1 0.2 0.3 0.4

prints a table; with --attacks and --defences, parts of it. A run with gates of 1,000 nodes takes 0.3 ms a message.
With several numbers of --rounds, each run is measured after each. With --keep FILE each figure is also appended to a
file as soon as it is known, and a run whose figures are all there is not made again; with
--part K/M only every M-th is measured, from the K-th on, for M processes side by side (each with a file of its own).
`python docs/make_robustness_tables.py gate FILE...` makes the tables of docs/gate.md of such files.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
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
{algorithm}
[training]
learning_rate = 0.2
batch_size = 30
[stop]
rounds = {rounds}
[evaluate]
every = {every}
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
GOSSIP = 'name = "gossip_learning"'
#: Of gossip learning; and in rounds, rules that are told of four hostile neighbours, or of eight.
DEFENCES = {
    "none": {"algorithm": GOSSIP},
    "history": {"algorithm": f"{GOSSIP}\nacceptance = {{ within = 'history' }}"},
    "gate": {"algorithm": GOSSIP, "gate": "[gate]"},
    "averaging": {"algorithm": 'name = "d_psgd"'},
    "gts": {"algorithm": 'name = "gts"\nhostile = 4'},
    "gts, 8": {"algorithm": 'name = "gts"\nhostile = 8'},
    "cs_plus": {"algorithm": 'name = "cs_plus"\nhostile = 4'},
    "trimmed_mean": {"algorithm": 'name = "trimmed_mean"\nhostile = 4\nbefore = "nearest_mixing"'},
    "clipped_gossip": {"algorithm": 'name = "clipped_gossip"\nhostile = 4'},
}
GOSSIPING = ("none", "history", "gate")


def cells(given):
    """All runs of the table: attack, defence, share."""
    yield from ((None, defence, 0.0) for defence in given.defences)
    for share, defence, attack in itertools.product(given.shares, given.defences, given.attacks):
        if defence in GOSSIPING or "age_inflation" not in ATTACKS[attack]:  # rows of rounds have no ages
            yield attack, defence, share


class Run:
    """One run, and its figures: mean accuracy of the honest in percent, and how many models were refused."""

    def __init__(self, given, cell):
        self.attack, self.defence, self.share = cell
        self.wanted, self.nodes, self.seed = sorted(set(given.rounds)), given.nodes, given.seed
        self.keep, self.figures = given.keep, {}

    def of(self, rounds):
        """What a figure is of."""
        of = {"nodes": self.nodes, "rounds": rounds, "seed": self.seed}
        return {**of, "attack": self.attack, "defence": self.defence, "share": self.share}

    def known(self, kept):
        """Take figures that were kept; return whether these are all."""
        for rounds in self.wanted:
            of = self.of(rounds)
            found = [each for each in kept if {name: each[name] for name in of} == of]
            if found:
                self.figures[rounds] = found[0]
        return len(self.figures) == len(self.wanted)

    def measure(self, traces):
        """Run it; what is known is written at once."""
        section = f"[attack]\n{ATTACKS[self.attack]}\nshare = {self.share}" if self.attack else ""
        parts = {"gate": "", **DEFENCES[self.defence]}
        sizes = {"nodes": self.nodes, "rounds": self.wanted[-1], "every": math.gcd(*self.wanted)}
        text = SCENARIO.format(seed=self.seed, attack=section, **sizes, **parts)
        started = time.perf_counter()

        def note(progress):
            rounds = progress.evaluation and int(progress.evaluation["round"])
            if rounds in self.wanted and rounds not in self.figures:
                accuracy, refused = (progress.evaluation.get(each) for each in ("accuracy_mean", "refused"))
                seconds = round(time.perf_counter() - started, 1)
                found = {"accuracy": round(100 * accuracy, 2), "refused": refused, "seconds": seconds}
                self.figures[rounds] = {**self.of(rounds), **found}
                if self.keep:
                    with self.keep.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(self.figures[rounds]) + "\n")

        result = run(parse_scenario(text), compile_when="never", traces=traces, on_progress=note)
        return result.summary["gate"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, nargs="+", default=[60])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.1, 0.2, 0.3, 0.4])
    parser.add_argument("--attacks", nargs="*", choices=ATTACKS, default=list(ATTACKS))
    parser.add_argument("--defences", nargs="+", choices=DEFENCES, default=list(GOSSIPING))
    parser.add_argument("--decisions", action="store_true", help="print the gates' decisions too")
    parser.add_argument("--keep", type=Path, help="file of JSON lines to which figures are appended")
    parser.add_argument("--part", default="0/1", help="K/M: measure every M-th figure from the K-th on")
    given = parser.parse_args()
    first, step = map(int, given.part.split("/"))
    kept = given.keep and given.keep.exists() and given.keep.read_text("utf-8").splitlines()
    known, traces = [json.loads(line) for line in kept or []], Traces()
    print("| attack | defence | hostile | rounds | accuracy of the honest | s |\n|---|---|---|---|---|---|")
    for cell in itertools.islice(cells(given), first, None, step):
        one = Run(given, cell)
        decisions = None if one.known(known) else one.measure(traces)
        for rounds, found in sorted(one.figures.items()):
            print(
                f"| {one.attack or 'nobody'} | {one.defence} | {one.share:.0%} | {rounds} "
                f"| {found['accuracy']:.1f} | {found['seconds']} |",
                flush=True,
            )
        if given.decisions:
            print(decisions)


if __name__ == "__main__":
    main()
