"""Files of trackers, read by the definitions of their formats."""

from __future__ import annotations

import json
import struct

_BLOCK = 32768


def scalars(folder):
    """Tags and (step, value, time) of TensorBoard's event files in a folder: length, checksum, data, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found = {}
    for file in sorted(folder.glob("events.*")):
        content, place = file.read_bytes(), 0
        while place < len(content):
            (length,) = struct.unpack_from("<Q", content, place)
            event = Event.FromString(content[place + 12 : place + 12 + length])
            place += 12 + length + 4
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value.simple_value, event.wall_time))
    return found


def records_of(file):
    """Records of Weights & Biases' transaction log: LevelDB's blocks of 32 KiB behind a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, place, parts = file.read_bytes(), 7, b""
    assert content.startswith(b":W&B")
    while place + 7 <= len(content):
        if (left := _BLOCK - place % _BLOCK) < 7:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # full, or last
            yield Record.FromString(parts)
            parts = b""


def wandb_run(folder):
    """Configuration, history, summary, exit code and files of the one offline run under a folder."""
    import wandb

    wandb.teardown()  # its process writes the file, and ends with that
    (file,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    config, history, summary, code = {}, [], {}, None
    for record in records_of(file):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            config |= {each.key: json.loads(each.value_json) for each in record.run.config.update}
        elif kind == "history":
            history.append({each.nested_key[0]: json.loads(each.value_json) for each in record.history.item})
        elif kind == "summary":
            summary |= {
                each.key or each.nested_key[0]: json.loads(each.value_json) for each in record.summary.update
            }
        elif kind == "exit":
            code = record.exit.exit_code
    return config, history, summary, code, {path.name for path in (file.parent / "files").iterdir()}
