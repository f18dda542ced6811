"""The scenario of the clock's tests: a ring of six nodes that learn in rounds."""

RING = """
seed = 3
precision = "float64"
[population]
nodes = 6
[task]
name = "tests.sims.worlds:blobs"
[topology]
name = "ring"
[algorithm]
name = "d_psgd"
[training]
batch_size = 4
learning_rate = 0.3
"""
