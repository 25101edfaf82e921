"""One verb a file; each exports `COMMAND`."""
