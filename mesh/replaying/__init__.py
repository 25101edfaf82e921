"""Recorded traffic: read as request documents, decided again, compared and grouped. Nothing here prints.

`mesh.replaying.log.recording` iterates over the records of a file of any kind; `mesh.replaying.comparing.Replay` decides them and
groups what comes out otherwise. Nothing is imported here, for the command line asks for the kinds alone.
"""
