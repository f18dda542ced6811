"""Gaussian noise: from a seed in simulations, from a secret in peers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from torch import Tensor

from gossipfl.codecs.draws import normals_from
from gossipfl.codecs.parts import in_parts
from gossipfl.outgoing.transformation import Draws, Effect, Normals, Words

__all__ = ["SECRET_BYTES", "GaussianNoise", "secret_normals", "secret_words"]

SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class GaussianNoise:
    """``x + N(0, deviation² I)``.

    The noise is rounded to the precision of the rows, so what is said of the real-valued mechanism holds of this
    one but for rounding (Mironov, "On significance of the least significant bits for differential privacy", 2012).

    Parameters
    ----------
    deviation : float
        Standard deviation σ of the noise on each number.
    recorded : bool
        Whether peers record the secrets of their noise.
    """

    deviation: float
    recorded: bool = False

    @property
    def name(self) -> str:
        """``noise:DEVIATION``."""
        return f"noise:{self.deviation}"

    def width(self, size: int) -> int:
        """All numbers are kept."""
        return size

    def effect(self, size: int) -> Effect:
        """Unbiased, with dσ² of variance."""
        return Effect(unbiased=True, absolute=size * self.deviation**2)

    def apply(self, rows: Tensor, draws: Draws) -> Tensor:
        """Add noise to rows ``[B, size]``."""

        def noisy(rows: Tensor, keys: Tensor) -> Tensor:
            noise = draws.normals(keys, rows.shape[1]).mul_(self.deviation)
            return rows + noise.to(rows.dtype)

        return in_parts(noisy, rows, draws.keys)


def secret_normals(secret: bytes) -> Normals:
    """Normals that cannot be reproduced without the secret: its ChaCha20 stream, by Box and Muller.

    Each row's key chooses a stream of the secret, so the rows of one exchange have independent noise. A secret is
    for one exchange or message.

    Parameters
    ----------
    secret : bytes
        32 bytes of the operating system's generator.
    """
    words = secret_words(secret)
    return lambda keys, count: normals_from(words(keys, 2 * -(-count // 2)), count)


def secret_words(secret: bytes) -> Words:
    """Words that cannot be reproduced without the secret: its ChaCha20 stream, another one for each key.

    Parameters
    ----------
    secret : bytes
        32 bytes of the operating system's generator.
    """
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"a secret has {SECRET_BYTES} bytes, not {len(secret)}")

    def drawn(keys: Tensor, count: int) -> Tensor:
        rows = []
        for key in keys.tolist():
            nonce = bytes(8) + int(key).to_bytes(8, "little", signed=True)
            stream = Cipher(ChaCha20(secret, nonce), mode=None).encryptor().update(bytes(8 * count))
            rows.append(np.frombuffer(stream, dtype="<i8"))
        return torch.from_numpy(np.stack(rows).astype(np.int64))

    return drawn
