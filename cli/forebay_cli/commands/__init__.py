"""One module per command; each parses options, calls one function elsewhere, and prints."""
