"""A peer's durable state: home, checkpoint, records, backups and ports."""
