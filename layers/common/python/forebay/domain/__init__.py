"""What Forebay knows and decides: standard library only, no I/O."""
