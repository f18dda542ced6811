"""The wave compiler: all events drawn first, then grouped into waves that run side by side."""
