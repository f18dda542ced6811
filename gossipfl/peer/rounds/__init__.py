"""Learning in rounds: the members of a roster proceed in step, each mixing with its neighbours of the round.

A member's part without I/O, which replays repeat, is in `gossipfl.rounds`.
"""
