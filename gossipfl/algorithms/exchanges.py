"""Exchanges that the round of an algorithm may yield, and the answers to them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from gossipfl.algorithms.author_calls import errors_of_author
from gossipfl.codecs import Compressor
from gossipfl.errors import InvalidAlgorithm
from gossipfl.training.nodes import Nodes

__all__ = [
    "AnyExchange",
    "Exchange",
    "LinkExchange",
    "Links",
    "Mixed",
    "NeighbourRows",
    "Neighbourhood",
    "Preview",
    "Round",
    "Rule",
]


@dataclass(frozen=True, slots=True)
class Exchange:
    """A row of each node for all its neighbours of the round; their weighted mean comes back.

    Parameters
    ----------
    rows : Tensor
        Shape ``[B, K]``.
    compressor : Compressor, optional
        Compression of rows on the wire; by default none.
    over : {'neighbours', 'clique', 'server'}
        Whether they are mixed with the round's mixing matrix, averaged within cliques (D-Cliques), or averaged
        over all nodes by a server, outside gossip.
    senders : Tensor, optional
        Over a server: the nodes that send and get the answer, bool ``[B]``; by default all. Rows of others are
        zeros, and still count in the mean.
    ages : Tensor, optional
        Over a server: ages of the models, int64 ``[B]``; the answer tells the largest of all.

    Examples
    --------
    >>> import torch
    >>> Exchange(torch.zeros(3, 5)).over
    'neighbours'
    """

    rows: Tensor
    compressor: Compressor | None = None
    over: Literal["neighbours", "clique", "server"] = "neighbours"
    senders: Tensor | None = None
    ages: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Links:
    """Ends of links: a node and one of its neighbours each, sorted by node.

    Parameters
    ----------
    owner : Tensor
        Which of the B nodes each link end belongs to, int64 ``[L]``.
    neighbours : Tensor
        Number in the network of the neighbour at each link end, int64 ``[L]``; increasing for each owner.
    weights : Tensor
        Mixing weight w_ij that the owner i gives to the neighbour j, float64 ``[L]``.

    Examples
    --------
    >>> import torch
    >>> ends = torch.tensor([0, 0, 1, 2])  # node 0 has the neighbours 1 and 2
    >>> links = Links(ends, torch.tensor([1, 2, 0, 0]), torch.full((4,), 1 / 3))
    >>> links.neighbours[links.owner == 0]
    tensor([1, 2])
    """

    owner: Tensor
    neighbours: Tensor
    weights: Tensor


@dataclass(frozen=True, slots=True)
class LinkExchange:
    """A row over each link end, to the neighbour there: shape ``[L, K]``; the neighbours' rows come back.

    Examples
    --------
    >>> import torch
    >>> LinkExchange(torch.zeros(6, 5)).rows.shape
    torch.Size([6, 5])
    """

    rows: Tensor
    compressor: Compressor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbourhood:
    """The rows that b nodes and their neighbours sent, as the neighbours decode them.

    Nodes may have different numbers of neighbours, and a neighbour's row may not arrive. Such a place is not
    ``present``: its row and weight are zero, and its weight is added to ``own_weights``, so that ``own_weights +
    weights.sum(1)`` is the sum of the node's row of the mixing matrix. A rule's outcome must not depend on how
    many such places there are.

    Parameters
    ----------
    nodes : Tensor
        Which of the B nodes of the round these are, int64 ``[b]``.
    own : Tensor
        Shape ``[b, D]``.
    own_weights : Tensor
        Mixing weights w_ii, of the dtype of the rows, ``[b]``.
    rows : Tensor
        Of the neighbours in increasing order of their numbers, ``[b, K, D]``, K ≥ 1.
    weights : Tensor
        Mixing weights w_ij, of the dtype of the rows, ``[b, K]``.
    present : Tensor
        Bool ``[b, K]``.
    neighbours : Tensor, optional
        Numbers of the neighbours in the network, int64 ``[b, K]``; −1 where none is present. None where nobody
        knows them.

    Examples
    --------
    >>> import torch
    >>> around = Neighbourhood(
    ...     nodes=torch.tensor([0]), own=torch.zeros(1, 2), own_weights=torch.tensor([0.5]),
    ...     rows=torch.ones(1, 1, 2), weights=torch.tensor([[0.5]]), present=torch.tensor([[True]]))
    >>> around.rows.shape
    torch.Size([1, 1, 2])
    """

    nodes: Tensor
    own: Tensor
    own_weights: Tensor
    rows: Tensor
    weights: Tensor
    present: Tensor
    neighbours: Tensor | None = None

    def including_own(self) -> Neighbourhood:
        """The same with each node as a neighbour of itself, in the first place; ``own_weights`` is then zero."""
        return Neighbourhood(
            nodes=self.nodes,
            own=self.own,
            own_weights=torch.zeros_like(self.own_weights),
            rows=torch.cat([self.own[:, None], self.rows], dim=1),
            weights=torch.cat([self.own_weights[:, None], self.weights], dim=1),
            present=torch.cat([torch.ones_like(self.present[:, :1]), self.present], dim=1),
        )

    def only(self, kept: Tensor) -> Neighbourhood:
        """The same without the neighbours that are not kept, bool ``[b, K]``; their weights go to the nodes."""
        kept = kept & self.present
        return replace(
            self,
            own_weights=self.own_weights + torch.where(kept, 0, self.weights).sum(dim=1),
            rows=torch.where(kept[..., None], self.rows, 0),
            weights=torch.where(kept, self.weights, 0),
            present=kept,
            neighbours=None if self.neighbours is None else torch.where(kept, self.neighbours, -1),
        )

    def widened(self, own: Tensor, columns: Tensor) -> Neighbourhood:
        """The same with whole rows if only some of their numbers were sent; the others are the node's own.

        Parameters
        ----------
        own : Tensor
            Whole rows of these nodes, ``[b, D]``.
        columns : Tensor
            Which numbers were sent, int64.
        """
        theirs = own[:, None].expand(-1, self.rows.shape[1], -1)
        rows = theirs.index_copy(2, columns, self.rows).masked_fill_(~self.present[..., None], 0)
        return replace(self, own=own.index_copy(1, columns, self.own), rows=rows)


Rule: TypeAlias = Callable[[Neighbourhood], Tensor]
"""The outcome of a rule on b neighbourhoods: a row each, ``[b, M]``, that depends on no other node's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A short summary of every row, by which receivers choose whose rows they want.

    Parameters
    ----------
    summary : callable
        From rows ``[n, D]`` to summaries ``[n, width]``.
    width : int
    wanted : callable
        From a `Neighbourhood` of summaries to which of the neighbours' rows are wanted, bool ``[b, K]``.

    Examples
    --------
    >>> import torch
    >>> def positive(summaries):
    ...     return summaries.rows[..., 0] > 0
    >>> Preview(summary=lambda rows: rows[:, :1], width=1, wanted=positive).width
    1
    """

    summary: Callable[[Tensor], Tensor]
    width: int
    wanted: Rule

    def chosen(self, around: Neighbourhood) -> Neighbourhood:
        """A neighbourhood of rows without those that are not wanted."""
        count, places, size = around.rows.shape
        summaries = replace(
            around,
            own=self.summary(around.own).to(around.own.dtype),
            rows=self.summary(around.rows.reshape(-1, size)).view(count, places, -1).to(around.own.dtype),
        )
        return around.only(self.wanted(summaries))


@dataclass(frozen=True, slots=True)
class NeighbourRows:
    """A row of each node for all its neighbours of the round, and a rule, not necessarily linear, for theirs.

    The rule is called with as many nodes at once as fit into memory: all B, some, or one. ``Mixed.rows`` is its
    outcome.

    Parameters
    ----------
    rows : Tensor
        Shape ``[B, D]``.
    rule : callable
        From a `Neighbourhood` of b of the nodes to ``[b, M]``.
    compressor : Compressor, optional
        Compression of rows on the wire; by default none.
    preview : Preview, optional
        Summaries that are sent first; rows are then sent to those alone who want them. A width of 0 is for
        receivers that know without summaries whose rows they want. All rounds need the same width.

    Examples
    --------
    >>> import torch
    >>> def largest(neighbourhood):
    ...     return torch.maximum(neighbourhood.own, neighbourhood.rows.amax(dim=1))
    >>> NeighbourRows(torch.zeros(3, 5), largest).rows.shape
    torch.Size([3, 5])
    """

    rows: Tensor
    rule: Rule
    compressor: Compressor | None = None
    preview: Preview | None = None

    def chosen(self, neighbourhood: Neighbourhood) -> Neighbourhood:
        """The neighbourhood without the rows that are not wanted."""
        return neighbourhood if self.preview is None else self.preview.chosen(neighbourhood)

    def summarised(self, rows: Tensor) -> Tensor:
        """Summaries of rows ``[n, D]``, float32 ``[n, width]``.

        Raises
        ------
        InvalidAlgorithm
            If the preview's function fails, or returns something else.
        """
        preview = self._preview()
        with errors_of_author("the summary of a preview failed", module=_module(preview.summary)):
            summaries = preview.summary(rows)
        return _required(summaries, (len(rows), preview.width), what="summary").to(torch.float32)

    def wanted(self, summaries: Neighbourhood) -> Tensor:
        """Which neighbours' rows are wanted, bool ``[b, K]``, by a neighbourhood of summaries.

        Raises
        ------
        InvalidAlgorithm
            If the preview's function fails, or returns something else.
        """
        preview = self._preview()
        with errors_of_author("the choice of a preview failed", module=_module(preview.wanted)):
            wanted = preview.wanted(summaries)
        return _required(wanted, tuple(summaries.present.shape), what="choice").bool() & summaries.present

    def _preview(self) -> Preview:
        assert self.preview is not None  # noqa: S101  (the caller's reason to call)
        return self.preview

    def combined(self, neighbourhood: Neighbourhood) -> Tensor:
        """Apply the rule.

        Raises
        ------
        InvalidAlgorithm
            If it fails, or does not return a row for each node.
        """
        with errors_of_author("the rule of a NeighbourRows exchange failed", module=_module(self.rule)):
            combined = self.rule(self.chosen(neighbourhood))
        count = len(neighbourhood.nodes)
        if not isinstance(combined, Tensor) or combined.dim() != 2 or len(combined) != count:
            got = list(combined.shape) if isinstance(combined, Tensor) else type(combined).__name__
            raise InvalidAlgorithm(
                "the rule of a NeighbourRows exchange does not return a row for each node",
                expected=f"a tensor [{count}, M]",
                got=got,
            )
        return combined


def _module(function: Callable[..., Tensor]) -> str:
    return str(getattr(function, "func", function).__module__)  # past functools.partial


def _required(value: object, shape: tuple[int, ...], *, what: str) -> Tensor:
    if not isinstance(value, Tensor) or value.shape != shape:
        raise InvalidAlgorithm(
            f"the {what} of a preview is something else",
            expected=f"a tensor {list(shape)}",
            got=list(value.shape) if isinstance(value, Tensor) else type(value).__name__,
        )
    return value


AnyExchange: TypeAlias = Exchange | LinkExchange | NeighbourRows


@dataclass(frozen=True, slots=True)
class Mixed:
    """The answer to an exchange.

    Parameters
    ----------
    rows : Tensor
        To an `Exchange`: Σ_j w_ij · (what node j sent, as its neighbours decode it), j = i included, shape
        ``[B, K]``. To a `LinkExchange`: what the neighbour at each link end sent, ``[L, K]``. To `NeighbourRows`:
        what the rule returns, ``[B, M]``.
    sent : Tensor
        What the nodes themselves sent, as their neighbours decode it, of the shape of the exchange's rows.
    oldest : Tensor, optional
        The largest of the ages that were sent with the rows, int64 ``[]``.

    Examples
    --------
    >>> import torch
    >>> sent = torch.tensor([[0.0], [2.0]])
    >>> Mixed(rows=sent.mean(0).expand(2, 1), sent=sent).rows.flatten()
    tensor([1., 1.])
    """

    rows: Tensor
    sent: Tensor
    oldest: Tensor | None = None


Round: TypeAlias = Generator[AnyExchange, Mixed, Nodes]
"""A round in progress: yields exchanges, is sent their answers, returns the nodes after the round."""
