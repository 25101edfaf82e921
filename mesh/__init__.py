"""What a mesh declares at one moment, as an immutable Snapshot, and where it comes from."""
