"""The Forebay command line."""
