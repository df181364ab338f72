"""Fuzzing of every parser that meets bytes of a stranger; `python -m fuzz --help`."""
