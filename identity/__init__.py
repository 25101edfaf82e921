"""SPIFFE names and documents as values, and verifying them. No I/O; time is an argument."""
