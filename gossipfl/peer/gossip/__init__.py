"""Gossip: exchanges with random neighbours at a peer's own times."""
