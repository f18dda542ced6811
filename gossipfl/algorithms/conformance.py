"""Conformance of an algorithm to the contract that simulator, peers and replay rely on, for authors.

Every check runs the algorithm on five nodes on a path, whose weights suit every requirement, with exact gradients
of quadratics in the place of a task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from gossipfl.algorithms.author_calls import on_answer, on_clock, on_receipt, start_nodes
from gossipfl.algorithms.base import RoundAlgorithm
from gossipfl.algorithms.declaration import Algorithm
from gossipfl.algorithms.file_form import settings_model, settings_of, with_settings
from gossipfl.algorithms.messages import MessageAlgorithm
from gossipfl.algorithms.trial import LOCAL, SHARED, Trial, differences, first_nodes, trial_training
from gossipfl.errors import GossipflError
from gossipfl.training.nodes import Nodes

__all__ = ["Finding", "check_algorithm", "differs_alone"]

_ROUNDS = 4
_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The outcome of one check.

    Parameters
    ----------
    check : str
        The property that must hold.
    problem : str, optional
        Why it does not hold; None if it does.

    Examples
    --------
    >>> Finding(check="determinism").problem is None
    True
    """

    check: str
    problem: str | None = None


def check_algorithm(algorithm: Algorithm) -> list[Finding]:
    """Check an algorithm against its contract.

    Parameters
    ----------
    algorithm : Algorithm
        Its parameters are checked as they are.

    Returns
    -------
    list of Finding
        In order of the checks; those that do not apply are left out.

    Examples
    --------
    >>> from gossipfl.algorithms import check_algorithm, make_algorithm
    >>> [finding.check for finding in check_algorithm(make_algorithm("d_psgd")) if finding.problem]
    []
    """
    checks: Iterator[tuple[str, Callable[[], str | None]]]
    if isinstance(algorithm, RoundAlgorithm):
        checks = _of_rounds(algorithm)
    elif isinstance(algorithm, MessageAlgorithm):
        checks = _of_messages(algorithm)
    else:
        return [Finding(check="it runs in rounds or is driven by messages", problem=repr(type(algorithm)))]
    findings = [Finding(check="its declaration is complete", problem=_undeclared(algorithm))]
    for what, check in checks:
        try:
            findings.append(Finding(check=what, problem=check()))
        except GossipflError as error:
            findings.append(Finding(check=what, problem=str(error)))
        except Exception as error:  # the author's own code
            findings.append(Finding(check=what, problem=f"{type(error).__name__}: {error}"))
    return findings


def _undeclared(algorithm: Algorithm) -> str | None:
    declared = type(algorithm)
    if not getattr(getattr(declared, "__dataclass_params__", None), "frozen", False):
        return "it must be a frozen dataclass: nodes share it"
    model = settings_model(declared)
    kept = {key: value for key, value in settings_of(algorithm).items() if value is not None}
    again = with_settings(declared, model.model_validate(kept))
    written, given = settings_of(again), settings_of(algorithm)
    differing = [key for key, value in given.items() if written[key] != value]
    return f"{', '.join(differing)} differ once written to a file and read again" if differing else None


def _of_rounds(algorithm: RoundAlgorithm) -> Iterator[tuple[str, Callable[[], str | None]]]:
    trial = Trial(algorithm=algorithm)
    yield "shapes and dtypes stay, and numbers are finite", lambda: _keeps_forms(trial)
    yield "the same start gives the same end", lambda: _is_deterministic(trial)
    yield "it changes nothing that it is given", lambda: _leaves_alone(trial)
    yield "what stays local is trained, and never mixed", lambda: _keeps_local(trial)
    yield "every round exchanges the same shapes", lambda: _sends_alike(trial)
    yield "nodes in another order give the same rows in that order", lambda: _is_equivariant(trial)
    if not algorithm.requirements.server:
        yield "a node alone, as in a peer, ends where it ends among others", lambda: _runs_alone(trial)
    if algorithm.preserves_mean:
        yield "without training the mean of all models stays, as declared", lambda: _preserves_mean(trial)


def _keeps_forms(trial: Trial) -> str | None:
    for dtype in (torch.float32, torch.float64):
        states = list(trial.states(_ROUNDS, dtype=dtype))
        for state in states[1:]:
            problem = _form_differs(states[1], state)
            if problem or state.rows.dtype != dtype:
                return problem or f"rows of {dtype} became {state.rows.dtype}"
            if not all(
                bool(torch.isfinite(tensor).all()) for tensor in (state.rows, *state.auxiliary.values())
            ):
                return "NaN or infinite numbers within four rounds of well-behaved training"
    return None


def _form_differs(first: Nodes, later: Nodes) -> str | None:
    forms = [
        {name: (list(tensor.shape), tensor.dtype) for name, tensor in nodes.auxiliary.items()}
        for nodes in (first, later)
    ]
    return None if forms[0] == forms[1] else f"auxiliary rows {forms[0]} became {forms[1]}"


def _is_deterministic(trial: Trial) -> str | None:
    first, second = trial.after(_ROUNDS), trial.after(_ROUNDS)
    return None if torch.equal(first.rows, second.rows) else "two runs end with different rows"


def _leaves_alone(trial: Trial) -> str | None:
    for before, kept in trial.watched(_ROUNDS):
        changed = differences(before, kept, tolerance=0.0)
        if changed:
            return f"{', '.join(changed)} of the nodes before a round changed in place"
    return None


def _keeps_local(trial: Trial) -> str | None:
    after = trial.after(_ROUNDS)
    mixed, alone = after.rows[:, LOCAL], trial.trained_alone(after.steps)[:, LOCAL]
    still = trial.untrained().after(_ROUNDS).rows[:, LOCAL]
    if not torch.equal(still, trial.first().rows[:, LOCAL]):
        return "it changed without any training"
    requirements = trial.algorithm.requirements
    if torch.allclose(mixed, alone) or requirements.own_steps or requirements.cliques:
        return None
    return (
        f"expected the columns beyond `shared_size` to be what {after.steps.tolist()} steps of `context.local` "
        f"make of them; got numbers up to {(mixed - alone).abs().max():.2g} away. "
        "Keep what it makes with `nodes.with_shared(...)`"
    )


def _sends_alike(trial: Trial) -> str | None:
    shapes = [sent for _, sent in trial.exchanges(_ROUNDS)]
    return None if all(each == shapes[0] for each in shapes) else f"rounds exchanged {shapes}"


def _is_equivariant(trial: Trial) -> str | None:
    order = torch.tensor([3, 0, 4, 2, 1])
    plain, moved = trial.after(_ROUNDS).rows[order], trial.ordered(order).after(_ROUNDS).rows
    largest = float((plain - moved).abs().max())
    return None if largest < _TOLERANCE else f"rows differ by up to {largest:.1e}"


def differs_alone(algorithm: RoundAlgorithm) -> str | None:
    """Say which node ends elsewhere where it has no rows of others than those it was sent; None if none does."""
    return _runs_alone(Trial(algorithm=algorithm))


def _runs_alone(trial: Trial) -> str | None:
    for node, (together, alone) in enumerate(trial.one_by_one(_ROUNDS)):
        if together.shape != alone.shape:
            return f"node {node} sends other exchanges"
        largest = float((together - alone).abs().max())
        if not largest < _TOLERANCE:
            return f"node {node} ends, or sends, {largest:.1e} away"
    return None


def _preserves_mean(trial: Trial) -> str | None:
    states = list(trial.untrained().states(_ROUNDS))[1:]
    means = [state.rows[:, :SHARED].mean(dim=0) for state in states]
    largest = max(float((mean - means[0]).abs().max()) for mean in means)
    if largest < _TOLERANCE:
        return None
    return f"it moved by {largest:.1e}; if that is meant, declare preserves_mean = False"


def _of_messages(algorithm: MessageAlgorithm) -> Iterator[tuple[str, Callable[[], str | None]]]:
    occasions: dict[str, Callable[[Nodes, Tensor], Nodes]] = {
        "receipt": lambda nodes, who: _received(algorithm, nodes, who),
    }
    if algorithm.behaviour.trains == "clock":
        occasions["clock"] = lambda nodes, who: on_clock(
            algorithm, nodes, shared_size=SHARED, update=trial_training(who).update
        )
    if algorithm.behaviour.trains == "answer":
        occasions["answer"] = lambda nodes, who: _answered(algorithm, nodes, who)
    for name, act in occasions.items():
        yield (
            f"on {name}: shapes and dtypes stay, and numbers are finite",
            partial(_acts, algorithm, act),
        )
        yield (
            f"on {name}: a node alone ends where it ends among others",
            partial(_alone, algorithm, act),
        )
        yield f"on {name}: it changes nothing that it is given", partial(_in_place, algorithm, act)


def _started(algorithm: MessageAlgorithm, dtype: torch.dtype = torch.float64) -> Nodes:
    first = first_nodes(parts=algorithm.behaviour.sharing.ages)
    first = replace(first, rows=first.rows.to(dtype), optimiser_state=first.optimiser_state.to(dtype))
    return start_nodes(algorithm, first)


def _received(algorithm: MessageAlgorithm, nodes: Nodes, who: Tensor) -> Nodes:
    sharing, everyone = algorithm.behaviour.sharing, _started(algorithm, nodes.rows.dtype)
    senders = (who + 1) % len(everyone)
    part = None if sharing.kind == "whole" else who % sharing.parts
    sent = replace(everyone.select(senders), auxiliary={k: v[senders] for k, v in everyone.auxiliary.items()})
    message = algorithm.emit(sent, shared_size=SHARED, part=part)
    trains = algorithm.behaviour.trains == "receipt"
    update = trial_training(who).update if trains else lambda same: same
    return on_receipt(algorithm, nodes, message, update=update)


def _answered(algorithm: MessageAlgorithm, nodes: Nodes, who: Tensor) -> Nodes:
    message = algorithm.emit(nodes, shared_size=SHARED)
    begun = replace(nodes, rows=nodes.rows - 0.5)
    return on_answer(algorithm, nodes, message, begun, update=trial_training(who).update)


Act = Callable[[Nodes, Tensor], Nodes]


def _acts(algorithm: MessageAlgorithm, act: Act) -> str | None:
    for dtype in (torch.float32, torch.float64):
        before = _started(algorithm, dtype)
        after = act(before, torch.arange(len(before)))
        if bool((after.ages < before.ages).any()):
            return "a model became younger"
        if not bool(torch.isfinite(after.rows).all()):
            return "NaN in rows"
    return None


def _alone(algorithm: MessageAlgorithm, act: Act) -> str | None:
    before = _started(algorithm)
    together = act(before, torch.arange(len(before)))
    for node in range(len(before)):
        who = torch.tensor([node])
        one = replace(before.select(who), auxiliary={k: v[who] for k, v in before.auxiliary.items()})
        largest = float((act(one, who).rows - together.rows[who]).abs().max())
        if not largest < _TOLERANCE:
            return f"node {node} ends {largest:.1e} away"
    return None


def _in_place(algorithm: MessageAlgorithm, act: Act) -> str | None:
    before, kept = _started(algorithm), _started(algorithm)
    act(before, torch.arange(len(before)))
    changed = differences(before, kept, tolerance=0.0)
    return f"{', '.join(changed)} changed in place" if changed else None
