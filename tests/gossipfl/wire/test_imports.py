import subprocess
import sys


def test_the_wire_brings_no_network_and_nothing_that_holds_data():
    code = (
        "import sys, gossipfl.wire as wire\n"
        "assert 'torch' not in sys.modules  # names are imported on first use\n"
        "everything = [getattr(wire, name) for name in wire.__all__]\n"
        "print(*sorted(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = run.stdout.split()
    own = {name for name in loaded if name.startswith("gossipfl.")}
    packages = {".".join(name.split(".")[:2]) for name in own}
    # Names of codecs are settings; fingerprints are digests.
    harmless = {f"gossipfl.{name}" for name in ("errors", "fingerprints", "recent", "settings", "_version")}
    assert packages <= {"gossipfl.wire", "gossipfl.codecs"} | harmless
    assert {"trio", "libp2p", "sklearn", "polars"}.isdisjoint(loaded)
