"""Running policy tests, and what they covered."""
