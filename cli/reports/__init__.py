"""Reports: what meshward found, in the formats that other programs read. None of them prints."""
