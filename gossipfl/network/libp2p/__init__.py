"""py-libp2p's own services on this project's hosts: a host of this one with the interfaces of that library.

It takes ``pip install gossipfl[libp2p]``; nothing else here imports the library.
"""

from gossipfl.network.libp2p.host import LibraryHost, open_library_host

__all__ = ["LibraryHost", "open_library_host"]
