"""Noise XX handshakes in which each side proves its Ed25519 identity.

Everything that an unauthenticated peer can send passes through here: each message is bounded before it is read,
and the type of its key is checked on the bytes, before it is deserialised. (Deserialising a private RSA key can
cost a library seconds of primality tests.)

References
----------
T. Perrin, "The Noise Protocol Framework"; libp2p, "noise-libp2p",
https://github.com/libp2p/specs/blob/master/noise/README.md
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from noise.connection import Keypair, NoiseConnection  # type: ignore[import-untyped]

from gossipfl.errors import ConnectionRefusedByPolicy, IdentityMismatch, MessageTooLarge
from gossipfl.network.identity import Identity
from gossipfl.network.multistream import Channel
from gossipfl.network.noise.transport import RecordOpener, RecordSealer
from gossipfl.network.protobuf import field, fields_of
from gossipfl.settings.addresses import peer_id_of

__all__ = ["MOST_MESSAGE_BYTES", "Handshake"]

_PATTERN: Final = b"Noise_XX_25519_ChaChaPoly_SHA256"
_SIGNED_PREFIX: Final = b"noise-libp2p-static-key:"
#: Limit of a handshake message in bytes; honest ones take about 200.
MOST_MESSAGE_BYTES: Final = 2048

# Start of a public key's protobuf: type Ed25519, followed by 32 bytes.
_ED25519: Final = bytes.fromhex("0801 1220")
_KEY_BYTES: Final = len(_ED25519) + 32
_SIGNATURE_BYTES: Final = 64
# Field numbers of the payload's protobuf; others are ignored.
_KEY_FIELD, _SIGNATURE_FIELD = 1, 2


class Handshake:
    """Handshakes of one identity.

    Parameters
    ----------
    admit : callable
        Returns whether a proven peer id may connect.
    """

    def __init__(self, *, identity: Identity, admit: Callable[[str], bool]) -> None:
        self._admit = admit
        static = X25519PrivateKey.generate()
        self._static = static.private_bytes_raw()
        key = _ED25519 + identity.public_key
        signature = identity.sign(_SIGNED_PREFIX + static.public_key().public_bytes_raw())
        self._payload = field(_KEY_FIELD, key) + field(_SIGNATURE_FIELD, signature)

    async def run(
        self, channel: Channel, *, expected_peer: str | None
    ) -> tuple[str, bytes, RecordSealer, RecordOpener]:
        """Prove this side's identity and verify the other's. The caller sets the deadline.

        Returns the proven peer id, the hash of the handshake, and the two halves of the session. The hash covers
        every byte sent by both sides, so both ends of this connection have it, and no other connection does.

        Parameters
        ----------
        expected_peer : str or None
            The peer that this side dialled, which must prove this identity before it is sent this side's; None
            if the other side dialled.

        Raises
        ------
        IdentityMismatch
            The other side did not prove an identity, or proved another one than `expected_peer`.
        ConnectionRefusedByPolicy
            Its identity is not admitted.
        """
        noise = NoiseConnection.from_name(_PATTERN)
        noise.set_keypair_from_private_bytes(Keypair.STATIC, self._static)
        if expected_peer is not None:
            noise.set_as_initiator()
            noise.start_handshake()
            await _send(channel, noise.write_message())
            peer_id = self._proven(noise, await _receive(channel), expected_peer)
            await _send(channel, noise.write_message(self._payload))
        else:
            noise.set_as_responder()
            noise.start_handshake()
            noise.read_message(await _receive(channel))
            await _send(channel, noise.write_message(self._payload))
            peer_id = self._proven(noise, await _receive(channel), None)
        session = noise.noise_protocol
        return (
            peer_id,
            bytes(noise.get_handshake_hash()),
            RecordSealer(session.cipher_state_encrypt),
            RecordOpener(session.cipher_state_decrypt),
        )

    def _proven(self, noise: NoiseConnection, message: bytes, expected_peer: str | None) -> str:
        state = noise.noise_protocol.handshake_state  # not available after the last message
        payload = bytes(noise.read_message(message))
        fields = fields_of(payload)
        key, signature = (fields.get(number, [b""])[-1] for number in (_KEY_FIELD, _SIGNATURE_FIELD))
        if len(key) != _KEY_BYTES or not key.startswith(_ED25519) or len(signature) != _SIGNATURE_BYTES:
            raise IdentityMismatch("the identity is not an Ed25519 key with a signature")
        public_key = key[len(_ED25519) :]
        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(
                signature, _SIGNED_PREFIX + state.rs.public_bytes
            )
        except InvalidSignature:
            raise IdentityMismatch("the identity did not sign the handshake") from None
        peer_id = peer_id_of(public_key)
        if expected_peer not in (None, peer_id):
            raise IdentityMismatch(
                "another peer answered", expected=expected_peer, got=peer_id, proved=peer_id
            )
        if not self._admit(peer_id):
            raise ConnectionRefusedByPolicy("this peer is not admitted", got=peer_id)
        return peer_id


async def _send(channel: Channel, message: bytes | bytearray) -> None:
    await channel.write(len(message).to_bytes(2, "big") + message)


async def _receive(channel: Channel) -> bytes:
    size = int.from_bytes(await channel.read_exactly(2), "big")
    if size > MOST_MESSAGE_BYTES:
        raise MessageTooLarge(
            "a handshake message is too long", expected=f"at most {MOST_MESSAGE_BYTES} bytes", got=size
        )
    return await channel.read_exactly(size)
