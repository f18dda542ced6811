"""Membership of a peer: its door, its certificate, and news of its network."""
