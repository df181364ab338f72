"""House defaults, one construct per file; stacks compose them."""
