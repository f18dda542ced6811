"""Bytes over one plain TCP connection between two namespaces, one way and both ways at once.

As a program, one end of it: ``listen`` or ``connect``, the address, and the bytes of each turn.
"""

import json
import socket
import subprocess
import sys
import threading
import time

PORT, TURNS = 5001, 4
_WAYS = ("one", "both")


def both_ways(listener, caller, address, *, size):
    """The share of its speed that a link has each way while bytes pass both ways, once both ends have all."""
    ends = []
    for space, role in ((listener, "listen"), (caller, "connect")):
        command = ("ip", "netns", "exec", space, sys.executable, __file__, role, address, str(size))
        ends.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        if role == "listen":
            ends[0].stdout.readline()
    took = [json.loads(end.communicate(timeout=600)[0]) for end in ends]
    one, both = (sum(map(max, zip(took[0][way], took[1][way], strict=True))) for way in _WAYS)
    return one / both


def _send(connection, size):
    connection.sendall(bytes(size))


def _receive(connection, size):
    while size:
        size -= len(connection.recv(min(size, 65536)))


def _turn(connection, size, *, sends, receives):
    """Seconds of one turn, at whose beginning both ends are ready."""
    _send(connection, 1)
    _receive(connection, 1)
    began = time.monotonic()
    sending = threading.Thread(target=_send, args=(connection, size if sends else 0))
    sending.start()
    _receive(connection, size if receives else 0)
    sending.join()
    _send(connection, 1)
    _receive(connection, 1)
    return time.monotonic() - began


def main(role, address, size):
    if role == "listen":
        with socket.create_server((address, PORT)) as server:
            print("ready", flush=True)
            connection, _ = server.accept()
    else:
        connection = socket.create_connection((address, PORT))
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        took = {
            way: [
                _turn(
                    connection,
                    int(size),
                    sends=way == "both" or role == "connect",
                    receives=way == "both" or role == "listen",
                )
                for _ in range(TURNS)
            ]
            for way in _WAYS
        }
    print(json.dumps(took))


if __name__ == "__main__":
    main(*sys.argv[1:])
