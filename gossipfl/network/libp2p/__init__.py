"""py-libp2p's services on this project's hosts, behind the library's own interfaces.

Requires ``pip install gossipfl[libp2p]``; no other package imports the library.
"""

from gossipfl.network.libp2p.autonat import AutoNATHost
from gossipfl.network.libp2p.host import LibraryHost, open_library_host
from gossipfl.network.libp2p.relaying import relay_connections

__all__ = ["AutoNATHost", "LibraryHost", "open_library_host", "relay_connections"]
