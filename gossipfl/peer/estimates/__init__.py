"""Estimates of the whole network by gossip: number of peers, mean of a metric, consensus distance."""
