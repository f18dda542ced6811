"""Noise: the handshake and the encrypted transport."""
