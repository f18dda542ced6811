"""Networks between hosts that come with the simulator, as arrays in files.

``planetlab``: median round-trip times between 490 hosts of PlanetLab in whole milliseconds, from NetLatency-Data
(MIT licence). ``cities14``: see `make_cities14`.
"""
