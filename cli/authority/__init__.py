"""The verbs of `meshward ca`, one file for each thing that they are about."""
