#!/bin/sh
# Makes five peers of one owner that share a secret and ask the first one for others. Peers that exist stay as they are.
set -eu
homes=${HOMES:-/var/lib/gossipfl}
for number in 1 2 3 4 5; do
    home=$homes/peer-$number
    if [ -e "$home/peer.toml" ]; then continue; fi
    gossipfl peer init --home "$home" \
        --network-listen /ip4/0.0.0.0/tcp/4001 \
        --bootstrap-file ../bootstrap \
        --option peers=5 --option "index=$((number - 1))" --option partition=shards:4 \
        --page-enabled --page-metrics-at 0.0.0.0:9465
    if [ "$number" = 1 ]; then
        gossipfl network secret --home "$home" > /dev/null
        gossipfl peer roster "$home" | sed 's|^.*/p2p/|/dns4/peer-1/tcp/4001/p2p/|' > "$homes/bootstrap"
    else
        mkdir -p -m 700 "$home/membership"
        cp -p "$homes/peer-1/membership/secret" "$home/membership/secret"
    fi
done
