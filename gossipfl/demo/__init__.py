"""The demo: peers as separate processes on one machine, watched but not directed."""
