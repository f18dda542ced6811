"""Size limits of the parts of a frame."""

from __future__ import annotations

from dataclasses import dataclass, fields

from gossipfl.errors import SettingError

__all__ = ["LARGEST_INTEGER", "Limits"]

#: Integers in a header are below 2**63, so that every language and file format can represent them.
LARGEST_INTEGER = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Largest sizes accepted and sent. The body has none: the receiver's layout determines its length exactly.

    Parameters
    ----------
    header_bytes : int
        Length of a header.
    tensors, dimensions : int
        Tensors in a payload, and dimensions of a tensor.
    name_length : int
        Characters in the name of a codec, tensor or dtype, or in a refusal's code.
    view_peers : int
        Peers in a view.
    addresses : int
        Addresses of one peer in a view.
    address_length, peer_id_length : int
        Characters.
    text_length : int
        Characters in a refusal's text.
    parts : int
        Parts of a model that have ages of their own.
    statements, statement_bytes : int
        Statements in a message of news, and bytes of each.

    Raises
    ------
    SettingError
        A limit is not a positive integer.
    """

    header_bytes: int = 64 * 1024
    tensors: int = 16
    dimensions: int = 8
    name_length: int = 64
    view_peers: int = 64
    addresses: int = 8
    address_length: int = 200
    peer_id_length: int = 100
    text_length: int = 300
    parts: int = 256
    statements: int = 64
    statement_bytes: int = 16 * 1024

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not int or value < 1:
                raise SettingError(
                    f"limit {field.name} is out of range", expected="a positive integer", got=repr(value)
                )

    @property
    def array_length(self) -> int:
        """Length of the longest array in any valid header."""
        most = (self.tensors, self.dimensions, self.view_peers, self.addresses, self.statements, self.parts)
        return max(*most, 5)

    @property
    def string_length(self) -> int:
        """Bytes of the longest string in any valid header, at four a character."""
        return 4 * max(self.name_length, self.address_length, self.peer_id_length, self.text_length)
