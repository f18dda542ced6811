"""The contract of message-driven algorithms: a declaration, and pure functions on rows.

Nodes act when their clocks ring and when messages arrive, and never wait for one another. An algorithm says on
which of these occasions its nodes train, and what they send (`Behaviour`); and gives a function for each
occasion (`MessageAlgorithm`). Whoever runs it knows no more: a simulation compiles the occasions to waves, a
peer meets them as they come, and a replay follows the records of both::

    @dataclass(frozen=True)
    class GoingAlong(MessageAlgorithm):
        behaviour = Behaviour(exchange="push-pull")

        def on_receipt(self, nodes, message, *, update):
            mean = torch.lerp(nodes.rows[:, : message.size], message.shared, 0.5)
            return update(nodes.with_shared(mean, ages=torch.maximum(nodes.ages, message.ages)))
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias, final

from torch import Tensor

from gossipfl.algorithms.declaration import Algorithm
from gossipfl.algorithms.gossip.flow import PROACTIVE, Flow
from gossipfl.algorithms.gossip.sharing import WHOLE, Sharing
from gossipfl.errors import SettingError
from gossipfl.training.nodes import PERSONAL, Nodes

__all__ = [
    "CODEC",
    "LARGEST_AGE",
    "MOMENTUM",
    "Behaviour",
    "Message",
    "MessageAlgorithm",
    "Occasion",
    "Update",
]

Occasion = Literal["clock", "receipt", "answer"]
Update: TypeAlias = Callable[[Nodes], Nodes]
"""Local training, or the identity where there is none."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}")
_MOST_CARRIED = 4

CODEC = "how models are sent: bfloat16, float16, int8[:BUCKET] or qsgd:LEVELS[:BUCKET]; as float32 if unset"

#: Largest age that is sent or accepted: a step each microsecond for twelve days, yet far from any overflow. Peers
#: whose age a liar has raised to it keep sending it, and so continue to learn from each other.
LARGEST_AGE = 2**40

#: Name among what a message carries of the velocities (SGD) or first moments (AdamW) of shared parameters.
MOMENTUM = "momentum"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """B models on their way, one to each of B nodes.

    Parameters
    ----------
    shared : Tensor
        Shared parameters, shape ``[B, shared_size]``, float32. Where only a part of them was sent, the others have
        no meaning.
    ages : Tensor
        Int64 ``[B]``; ``[B, S]`` where each of S parts has its own.
    carried : mapping of str to Tensor
        Further rows, ``[B]`` or ``[B, K]`` each, of the rows' dtype: those that `Behaviour.carries` names.
    part : Tensor, optional
        Int64 ``[B]``: which part was sent (`Sharing.chosen`); None where models are sent whole.
    is_spent : bool
        Whether nobody else has use for ``shared``, so that what becomes of it may be written there: models may be
        large.

    Examples
    --------
    >>> import torch
    >>> Message(shared=torch.zeros(2, 5), ages=torch.tensor([3, 4])).size
    5
    """

    shared: Tensor
    ages: Tensor
    carried: Mapping[str, Tensor] = field(default_factory=dict)
    part: Tensor | None = None
    is_spent: bool = False

    @property
    def size(self) -> int:
        """Number of shared parameters."""
        return self.shared.shape[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """Behaviour of an algorithm's nodes: what they do, and when.

    Parameters
    ----------
    trains : {'receipt', 'clock', 'answer'}
        The one occasion on which a node trains. ``receipt``: when a model arrives; models that arrive while it
        trains wait. ``clock``: when its clock rings and before it sends; the clock is not heard while it trains.
        ``answer``: when the answer to its own message arrives, with a gradient begun when its clock rang.
    exchange : {'push', 'pull', 'push-pull'}
        A node sends its model, asks for one, or both. A node that is asked answers with its model as it was before
        it absorbed what came with the question.
    carries : tuple of str
        Rows that travel with the model, by name: ``momentum``, or one of those in `Nodes.auxiliary` that `start`
        makes.
    lost : {'lost', 'returned'}
        The fate of a model that is lost or finds nobody. ``returned``: its sender learns of it when it would
        have arrived, and absorbs it as if received.
    sharing : Sharing
        How much of a model is sent.
    flow : Flow
        Whether messages are paid for; only where nodes train on receipt, and push.
    ages : {'larger', 'received', 'decided'}
        A node's age once it has received a model, training not counted: the larger one of the two, the received
        one, or one that depends on what is in the models.
    codec : str, optional
        Name of the codec that a simulation sends models and further rows of ``[B, K]`` with; in full unless
        given. (A peer's is in its settings of exchanges.)
    simulated_only : str, optional
        Why real peers cannot run it, if they cannot.

    Raises
    ------
    SettingError
        Two of these contradict each other.

    Examples
    --------
    >>> Behaviour(exchange="push-pull", carries=("momentum",)).trains
    'receipt'
    """

    trains: Occasion = "receipt"
    exchange: Literal["push", "pull", "push-pull"] = "push"
    carries: tuple[str, ...] = ()
    lost: Literal["lost", "returned"] = "lost"
    sharing: Sharing = WHOLE
    flow: Flow = PROACTIVE
    ages: Literal["larger", "received", "decided"] = "larger"
    codec: str | None = None
    simulated_only: str | None = None

    @property
    def is_plain(self) -> bool:
        """Whether messages are whole models and nothing else, on which nodes train."""
        return self.trains == "receipt" and not self.carries and self.sharing.kind == "whole"

    def __post_init__(self) -> None:
        wrong = [name for name in self.carries if not _NAME.fullmatch(name)]
        if wrong or len(set(self.carries)) != len(self.carries) or len(self.carries) > _MOST_CARRIED:
            raise SettingError(
                "messages have to name what they carry",
                expected=f"at most {_MOST_CARRIED} different names of letters, digits and '_'",
                got=", ".join(map(repr, self.carries)),
            )
        if PERSONAL in self.carries:
            raise SettingError(
                "personal models never leave a node",
                expected=f"carries without {PERSONAL!r}",
                got=", ".join(map(repr, self.carries)),
            )
        if self.flow.is_paid and (self.exchange, self.trains) != ("push", "receipt"):
            raise SettingError(
                "token accounts decide when models that were just trained are pushed",
                expected="exchange = 'push' and training on receipt",
                got=f"exchange = {self.exchange!r} and training on {self.trains}",
                remedy="Use flow.kind = 'proactive' with anything else; peers set the former as exchange.mode.",
            )
        if self.trains == "answer" and self.exchange == "push":
            raise SettingError(
                "nodes that train on answers must ask for them",
                expected="exchange = 'pull' or 'push-pull'",
                got=repr(self.exchange),
            )
        if self.lost == "returned" and self.trains == "receipt":
            raise SettingError(
                "a node would train on its own model whenever a message is lost",
                expected="training on the clock or on answers where lost models are returned",
                got="training on receipt",
            )
        if self.codec is not None and self.sharing.kind != "whole":
            raise SettingError(
                "codec is for whole models", got=self.codec, remedy="Leave it out, or leave out sharing."
            )


class MessageAlgorithm(Algorithm, ABC):
    """A message-driven algorithm, on B nodes at once.

    All functions are pure and treat each node by itself. Whatever they keep beside the model is in
    `Nodes.auxiliary`, from `start` on.

    Examples
    --------
    >>> import torch
    >>> @dataclass(frozen=True)
    ... class GoingAlong(MessageAlgorithm):
    ...     def on_receipt(self, nodes, message, *, update):
    ...         mean = torch.lerp(nodes.rows[:, : message.size], message.shared, 0.5)
    ...         return update(nodes.with_shared(mean, ages=torch.maximum(nodes.ages, message.ages)))
    >>> GoingAlong().behaviour.exchange
    'push'
    """

    __slots__ = ()
    kind = "messages"
    preserves_mean = False

    @property
    def behaviour(self) -> Behaviour:
        """What its nodes do, and when; by default pushed models are trained on receipt."""
        return Behaviour()

    @property
    def simulator_only(self) -> str | None:
        """Why peers cannot run it; None if they can."""
        behaviour = self.behaviour
        if behaviour.simulated_only is not None:
            return behaviour.simulated_only
        return (
            "a peer does not learn which of its messages were lost" if behaviour.lost == "returned" else None
        )

    def start(self, nodes: Nodes) -> Nodes:
        """Initial nodes, with the algorithm's auxiliary rows; by default none."""
        return nodes

    @final
    def emit(self, nodes: Nodes, *, shared_size: int, part: Tensor | None = None) -> Message:
        """Messages with the nodes' current models: all that `behaviour` says is sent.

        Parameters
        ----------
        nodes : Nodes
            B nodes.
        shared_size : int
            Width of the shared part of a row.
        part : Tensor, optional
            As in `Message`, if parts of models are sent.

        Raises
        ------
        SettingError
            The nodes lack something that the algorithm carries.
        """
        behaviour = self.behaviour
        return Message(
            shared=nodes.rows[:, :shared_size],
            ages=nodes.ages,
            carried={name: _carried(nodes, name, shared_size) for name in behaviour.carries},
            part=None if behaviour.sharing.kind == "whole" else part,
        )

    @abstractmethod
    def on_receipt(self, nodes: Nodes, message: Message, *, update: Update) -> Nodes:
        """Take one received model into each node; answers too, unless nodes train on answers.

        Parameters
        ----------
        nodes : Nodes
            B nodes.
        message : Message
            One for each.
        update : callable
            Local training where nodes train on receipt; a peer may let several receipts share one training, and
            gives the identity before the last. Elsewhere always the identity.

        Returns
        -------
        Nodes
        """

    def on_clock(self, nodes: Nodes, *, shared_size: int, update: Update) -> Nodes:
        """Change nodes whose clocks rang, before their models are sent; called where nodes train on the clock.

        Parameters
        ----------
        nodes : Nodes
            B nodes.
        shared_size : int
            Width of the shared part of a row.
        update : callable
            Local training.

        Returns
        -------
        Nodes
            The nodes to send and keep; by default trained.
        """
        return update(nodes)

    def on_answer(self, nodes: Nodes, message: Message, begun: Nodes, *, update: Update) -> Nodes:
        """Absorb answers to nodes' own messages, and apply the steps begun; called where nodes train on answers.

        Writing R for `on_receipt` and U for ``update``, with x̂ the model when the clock rang: ``R(x) + U(x̂) − x̂``,
        unless overridden.

        Parameters
        ----------
        nodes : Nodes
            B nodes as they are now.
        message : Message
            One answer for each.
        begun : Nodes
            The same nodes as they were when their clocks rang; of these, rows and ages count.
        update : callable
            Local training.

        Returns
        -------
        Nodes
        """
        received = self.on_receipt(nodes, message, update=lambda same: same)
        before = replace(received, rows=begun.rows, ages=begun.ages)
        trained = update(before)
        return replace(
            trained,
            rows=received.rows + (trained.rows - before.rows),
            ages=received.ages + (trained.ages - before.ages),
        )


def _carried(nodes: Nodes, name: str, shared_size: int) -> Tensor:
    if name == MOMENTUM:
        return nodes.optimiser_state[:, :shared_size]
    rows = nodes.auxiliary.get(name)
    if rows is None or rows.dim() > 2:
        raise SettingError(
            f"messages cannot carry {name!r}",
            expected=f"{MOMENTUM}, or auxiliary rows [B] or [B, K] that the algorithm's start makes",
            got="no rows of this name" if rows is None else f"a shape {['B', *rows.shape[1:]]}",
        )
    return rows
