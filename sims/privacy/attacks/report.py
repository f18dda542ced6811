"""Findings of all attacks on one scenario, beside what its noise claims."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sims.errors import SimulationError
from sims.privacy.attacks.claims import Claim, claim_of
from sims.privacy.attacks.inversion import InversionFindings, inverted
from sims.privacy.attacks.linkability import LinkFindings, linked
from sims.privacy.attacks.membership import MembershipFindings, likelihood_ratios, measured, observed_runs
from sims.privacy.attacks.recorded import attack_homes
from sims.privacy.attacks.sent_rows import Setting, setting_of
from sims.privacy.errors import NotAccountable
from sims.privacy.knowledge import knowledge_of
from sims.privacy.linear_run import LinearRun
from sims.privacy.recordings import recorded_run
from sims.privacy.sources import run_of_scenario
from sims.scenario import Scenario
from sims.world import build_world

__all__ = ["AttackReport", "RowSpaceFindings", "attack_recorded", "attack_report", "inversions"]

_INVERTED = 8
"""Most nodes whose batches are reconstructed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSpaceFindings:
    """What an observer computes from the rows that it saw, by linear algebra alone.

    Parameters
    ----------
    observer, others : int
    computed : int
        Of how many of the others all values can be computed.
    share : float
        Mean share of the others' values that it has, as `gossipfl privacy` counts it.
    """

    observer: int
    others: int
    computed: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackReport:
    """Outcome of all attacks.

    Parameters
    ----------
    nodes, runs, looks : int
        Of the scenario; how often it was run; and how many rows of a node were seen in each.
    senders : tuple of int
        The nodes attacked.
    confidence : float
    claim : Claim
    membership : dict of str to MembershipFindings
        By attack.
    links : dict of str to LinkFindings
        By what the attacker knows.
    inversion : dict of str to InversionFindings
        By round.
    row_space : RowSpaceFindings or None
    left_out : dict of str to str
        Attacks that do not apply, and why.
    """

    nodes: int
    runs: int
    looks: int
    senders: tuple[int, ...]
    confidence: float
    claim: Claim
    membership: dict[str, MembershipFindings]
    links: dict[str, LinkFindings]
    inversion: dict[str, InversionFindings]
    row_space: RowSpaceFindings | None
    left_out: dict[str, str]

    @property
    def proven(self) -> float:
        """The largest ε that an attack proved in one run; 0 for recorded peers."""
        return max(each.epsilon_of_one_run or 0.0 for each in self.membership.values())

    def to_dict(self) -> dict[str, Any]:
        """All of it for machines; ε is null where nothing is claimed."""
        values = asdict(self)
        values["claim"]["epsilon"] = self.claim.epsilon if math.isfinite(self.claim.epsilon) else None
        for findings in values["membership"].values():
            findings["true_rates"] = {str(rate): each for rate, each in findings["true_rates"].items()}
        return {**values, "proven": self.proven}


def attack_report(
    scenario: Scenario,
    *,
    runs: int,
    observer: int | None = None,
    looks: int = 1,
    delta: float = 1e-5,
    confidence: float = 0.95,
    on_progress: Callable[[str], None] = lambda what: None,
) -> AttackReport:
    """Run a scenario several times, and attack what its nodes sent.

    Parameters
    ----------
    scenario : Scenario
    runs : int
        At least 3: each is attacked with what the others show.
    observer : int, optional
        Whose neighbours are attacked; all nodes unless given.
    looks : int
        How many of the last rows of each node are seen.
    delta, confidence : float
    on_progress : callable, optional
        Told what is being done.

    Raises
    ------
    NotAccountable
        If neighbours do not see models, or samples are too few.
    """
    nodes = scenario.population.nodes
    if observer is not None and not 0 <= observer < nodes:
        raise NotAccountable("the observer must be a node", expected=f"0 … {nodes - 1}", got=observer)
    if looks < 1:
        raise NotAccountable("an attacker sees rows", expected="at least one look", got=looks)
    setting = setting_of(build_world(scenario))
    senders = list(range(nodes)) if observer is None else setting.neighbours(observer).tolist()
    observed = observed_runs(
        setting, runs=runs, looks=looks, on_run=lambda done: on_progress(f"run {done + 1} of {runs}")
    )
    among = np.isin(observed.owners, senders)
    scores = {
        "loss": -observed.losses,
        "LiRA offline": likelihood_ratios(observed, online=False),
        "LiRA online": likelihood_ratios(observed),
    }
    left_out: dict[str, str] = {}
    links = {}
    if len(senders) > 1:
        on_progress("linking models to data")
        links = {
            name: linked(observed, nodes=senders, trained_on=trained_on, confidence=confidence)
            for name, trained_on in (("trained on", True), ("not trained on", False))
        }
    else:
        left_out["links"] = "the observer has one neighbour"
    watching = 0 if observer is None else observer
    on_progress("inverting gradients")
    inversion = inversions(setting, watching, left_out)
    on_progress("computing the row space")
    return AttackReport(
        nodes=nodes,
        runs=runs,
        looks=looks if setting.network is not None else 1,
        senders=tuple(senders),
        confidence=confidence,
        claim=claim_of(observed.runs, delta=delta),
        membership={
            name: measured(observed, each, among=among, delta=delta, confidence=confidence)
            for name, each in scores.items()
        },
        links=links,
        inversion=inversion,
        row_space=_row_space(lambda: run_of_scenario(scenario), watching, left_out),
        left_out=left_out,
    )


def inversions(setting: Setting, observer: int, left_out: dict[str, str]) -> dict[str, InversionFindings]:
    """Invert gradients of an observer's neighbours in the second and in the last round, or say why not."""
    victims = setting.neighbours(observer).tolist()[:_INVERTED]
    found = {}
    try:
        if setting.rounds < 2:
            raise NotAccountable("a gradient is taken from two rows, of consecutive rounds")
        rounds = sorted({1, setting.rounds - 1})
        kept = {each - back for each in rounds for back in (0, 1)}
        sent = (
            setting.run(kept=kept) if setting.network is not None else setting.run(kept={setting.rounds - 1})
        )
        for each in rounds:
            found[f"round {each + 1}"] = inverted(
                setting, sent, observer=observer, victims=victims, round_number=each
            )
    except SimulationError as error:
        left_out["inversion"] = str(error)
    return found


def attack_recorded(
    homes: Sequence[Path], *, observer: int | None = None, delta: float = 1e-5, confidence: float = 0.95
) -> AttackReport:
    """Attack what recorded peers sent last: membership and links, without shadow runs.

    Parameters
    ----------
    homes : sequence of Path
    observer : int, optional
        Whose row space is computed; the first peer unless given.
    delta, confidence : float
    """
    found = attack_homes(homes, delta=delta, confidence=confidence)
    left_out = {"inversion": "models that were saved are not of consecutive rounds"}
    return AttackReport(
        nodes=len(found.peers),
        runs=1,
        looks=1,
        senders=tuple(range(len(found.peers))),
        confidence=confidence,
        claim=Claim(epsilon=math.inf, delta=delta, why="see the peers' own ledgers"),
        membership=found.membership,
        links={"trained on": found.links},
        inversion={},
        row_space=_row_space(lambda: recorded_run(homes), observer or 0, left_out),
        left_out=left_out,
    )


def _row_space(
    find: Callable[[], LinearRun], observer: int, left_out: dict[str, str]
) -> RowSpaceFindings | None:
    try:
        run = find()
        known = knowledge_of(run, [observer])
    except SimulationError as error:
        left_out["row space"] = str(error)
        return None
    counts = np.bincount(run.owners, minlength=run.nodes)
    hidden = np.bincount(run.owners, weights=~known.reconstructed(), minlength=run.nodes)
    other = (counts > 0) & (np.arange(run.nodes) != observer)
    return RowSpaceFindings(
        observer=observer,
        others=int(other.sum()),
        computed=int((hidden[other] == 0).sum()),
        share=float((known.losses()[other] / counts[other]).mean()),
    )
