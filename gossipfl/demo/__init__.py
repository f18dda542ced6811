"""The main job on one machine: peers as separate processes, watched but not led by who starts them."""
