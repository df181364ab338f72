"""One use-case per step; each receives its ports and knows no AWS."""
