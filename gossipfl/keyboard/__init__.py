"""The device side of a keyboard: a sealed store of what is typed, a personal model, and suggestions.

Nothing here knows of a network, and what writes to one cannot import this package: an import contract checks it.
"""
