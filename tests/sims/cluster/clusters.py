"""A Ray cluster of two machines, as far as Ray can tell."""

import os
import secrets
import socket
from contextlib import contextmanager

_SETTINGS = (
    "RAY_USAGE_STATS_ENABLED",
    "RAY_AUTH_MODE",
    "RAY_AUTH_TOKEN",
    "RAY_ADDRESS",
    "RAY_worker_niceness",
    "GRPC_ENABLE_FORK_SUPPORT",
    "RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S",
)


@contextmanager
def ray_cluster():
    """Start a head and a worker node of one CPU each, named by RAY_ADDRESS; give their client address.

    All processes end with the block.
    """
    before = {name: os.environ.get(name) for name in _SETTINGS}
    token = secrets.token_hex(20)  # without one, Ray writes one into the home
    os.environ |= {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": token,
        "GRPC_ENABLE_FORK_SUPPORT": "0",  # else the server of a client, which is forked, may hang
        "RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S": "120",
        "RAY_worker_niceness": "0",  # else tests beside these leave them nothing of a busy machine
    }
    from ray._private.authentication_test_utils import reset_auth_token_state
    from ray.cluster_utils import Cluster

    reset_auth_token_state()  # whoever imported Ray before read other settings
    port = _free_port()
    head = {"num_cpus": 1, "include_dashboard": False, "ray_client_server_port": port}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        cluster.add_node(num_cpus=1)
        os.environ["RAY_ADDRESS"] = cluster.address
        yield f"ray://127.0.0.1:{port}"
    finally:
        cluster.shutdown()
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        reset_auth_token_state()


def _free_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]
