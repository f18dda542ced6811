"""Guarantees (ε, δ) of Gaussian mechanisms, by dp-accounting."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gossipfl.errors import SettingError
from gossipfl.extras import require_extra

__all__ = ["Guarantee", "gaussian_guarantee", "require_accounting", "require_delta"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarantee:
    """A guarantee of (ε, δ)-differential privacy.

    Parameters
    ----------
    epsilon : float
        The smallest ε that holds.
    epsilon_by_rdp : float
        The ε that follows from Rényi differential privacy, a little larger.
    delta : float
    """

    epsilon: float
    epsilon_by_rdp: float
    delta: float


_LARGEST = 1e7
"""μ beyond which ε is that of Rényi privacy, ``μ²/2 + μ √(2 ln 1/δ)``; more precision serves nobody there."""

_OVERFLOWING = 1e150


def require_accounting() -> None:
    """Require dp-accounting."""
    require_extra("privacy", ["dp_accounting"], what="Accounting for privacy")


def require_delta(delta: float) -> None:
    """Require a probability strictly between 0 and 1."""
    if not 0 < delta < 1:
        raise SettingError(
            "delta is a probability", expected="a number between 0 and 1, such as 1e-5", got=delta
        )


def gaussian_guarantee(mu: float, *, delta: float) -> Guarantee:
    """Give the guarantee of μ-Gaussian differential privacy: of one Gaussian mechanism of noise multiplier 1/μ.

    Parameters
    ----------
    mu : float
        Largest shift of what is released, in standard deviations of its noise.
    delta : float

    References
    ----------
    Dong, Roth and Su, "Gaussian differential privacy", JRSS B 84(1), 2022; ε by Balle and Wang, "Improving the
    Gaussian mechanism for differential privacy", ICML 2018, theorem 8. By RDP: Mironov, CSF 2017.
    """
    require_accounting()
    require_delta(delta)
    if mu == 0:
        return Guarantee(epsilon=0.0, epsilon_by_rdp=0.0, delta=delta)
    if not math.isfinite(mu):
        return Guarantee(epsilon=math.inf, epsilon_by_rdp=math.inf, delta=delta)
    if mu > _LARGEST:
        epsilon = mu**2 / 2 + mu * math.sqrt(2 * math.log(1 / delta)) if mu < _OVERFLOWING else math.inf
        return Guarantee(epsilon=epsilon, epsilon_by_rdp=epsilon, delta=delta)
    from dp_accounting import GaussianDpEvent, get_epsilon_gaussian
    from dp_accounting.rdp import RdpAccountant

    by_rdp = RdpAccountant().compose(GaussianDpEvent(1 / mu)).get_epsilon(delta)
    return Guarantee(epsilon=get_epsilon_gaussian(1 / mu, delta), epsilon_by_rdp=by_rdp, delta=delta)
