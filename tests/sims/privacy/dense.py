"""Losses by dense linear algebra: the reference for runs with noise of any kind."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


def square_shifts(
    moved: np.ndarray, noise: np.ndarray, whose: np.ndarray, groups: np.ndarray, *, most=None
) -> dict:
    """By node: the largest Σ|M_st| over its values of one group, M = Bᵀ(CCᵀ)⁺B; infinite outside the range of C.

    Parameters
    ----------
    moved : ndarray
        B, ``[rows, values]``, in units of sensitivities.
    noise : ndarray
        C, ``[rows, normals]``.
    whose, groups : ndarray
        Of each value.
    most : callable, optional
        The most that a node's values of a group can give away, if each has noise of its own.
    """
    left, sizes, _ = np.linalg.svd(noise, full_matrices=True)
    rank = int((sizes > 1e-9 * sizes.max(initial=1e-300)).sum())
    told, bare = left[:, :rank], left[:, rank:]
    losses: dict = {}
    for node, group in sorted(set(zip(whose.tolist(), groups.tolist(), strict=True))):
        part = moved[:, (whose == node) & (groups == group)]
        if np.abs(bare.T @ part).max(initial=0.0) > 1e-8 * np.abs(part).max(initial=1e-300):
            loss = np.inf
        else:
            whitened = (told.T @ part) / sizes[:rank, None]
            loss = float(np.abs(whitened.T @ whitened).sum())
        loss = loss if most is None else min(loss, most(node, group))
        losses[node] = max(losses.get(node, 0.0), loss)
    return losses


@dataclass
class Book:
    """Rows as combinations of named normals and values, and who saw which of them."""

    values: dict = field(default_factory=dict)
    """By name ``(node, step)``: the sensitivity."""
    seen: list = field(default_factory=list)
    """Pairs of a receiver and a row; a row maps names of values and of normals to coefficients."""
    knowers: dict = field(default_factory=dict)
    """By name of a normal: the nodes that know it."""

    def normal(self, name, *knowers) -> dict:
        self.knowers[name] = set(knowers)
        return {name: 1.0}

    def losses(self, observers, *, phase=lambda step: 0, most=None, sees_all=False) -> dict:
        rows = [row for receiver, row in self.seen if sees_all or receiver in observers]
        values = [name for name in self.values if name[0] not in observers]
        normals = [name for name, known in self.knowers.items() if not known & set(observers)]
        moved = np.array([[row.get(v, 0.0) * self.values[v] for v in values] for row in rows])
        noise = np.array([[row.get(z, 0.0) for z in normals] for row in rows])
        whose, groups = np.array([v[0] for v in values]), np.array([phase(v[1]) for v in values])
        moved, noise = moved.reshape(len(rows), len(values)), noise.reshape(len(rows), len(normals))
        return square_shifts(moved, noise, whose, groups, most=most)


def added(*parts) -> dict:
    """Σ weight · row."""
    total: dict = {}
    for weight, row in parts:
        for name, number in row.items():
            total[name] = total.get(name, 0.0) + weight * number
    return total
