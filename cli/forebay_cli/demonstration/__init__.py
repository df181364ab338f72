"""The story `forebay demo` tells: its data, its course, and its ending."""
