"""Format parsers: a byte source goes in, a frozen record and findings come out.

Nothing here raises for bad input; exceptions mean that the source itself failed.
"""
