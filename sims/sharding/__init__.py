"""One simulation in several places: nodes divided into shards, whose boundary rows go from one to another.

A shard is the engine of a part of the nodes: nothing of an algorithm or of training is written twice. What the
engine asks of its part (`sims.engine.part`) is answered here.
"""
