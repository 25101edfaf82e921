"""Reports: what verbs found, in the formats that other programs read."""
