"""`forebay inspect`: the parsers of the cloud, run where the files are."""
