"""The command line: one file per verb in `cli/commands`."""

import os

# Before gRPC is imported: its core writes to standard error in a form of its own what we say in ours.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
