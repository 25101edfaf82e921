"""The budget: how much policies may say. Apart from what compiles them, so that a command line is read without it."""

__all__ = ["DEFAULT_BUDGET"]

DEFAULT_BUDGET = 2_000_000
"""How many values all trees may have together, a policy's once for each tree that it is in: some twenty times what ten thousand
policies say. Compiled, a value takes 0.2 to 1 kB."""
