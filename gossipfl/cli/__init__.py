"""The command ``gossipfl``."""
