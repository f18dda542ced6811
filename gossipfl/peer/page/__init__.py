"""A running peer over HTTP on its own machine: status, metrics, predictions, steering, and a live page.

Modules that need starlette and hypercorn (``gossipfl[page]``) are imported only by peers that serve a page.
"""
