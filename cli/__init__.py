"""The command line: one file per verb in `cli/commands`."""
