"""``python -m gossipfl``."""

from gossipfl.cli.main import main

main()
