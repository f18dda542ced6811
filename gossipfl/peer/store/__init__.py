"""A peer's durable state: home, checkpoint, records, files and ports."""
