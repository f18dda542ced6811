"""Many peers without a network: the simulator."""
