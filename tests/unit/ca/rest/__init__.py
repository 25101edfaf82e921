"""HTTP edge of the authority, in process."""
