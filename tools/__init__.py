"""Tools for those who work on gossipfl; none is installed with it."""
