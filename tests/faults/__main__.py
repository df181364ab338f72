"""Tell schedules by their seeds: `python -m tests.faults SEED [--whole]`, or `FIRST..LAST`."""

import sys
import time
from collections import Counter

from tests.faults.schedules import shrunk, told


def main(arguments: list[str]) -> int:
    """Print the story of one seed, or what broke in a range of them."""
    what = arguments[0] if arguments else "0..1000"
    if ".." not in what:
        found = told(int(what))
        if found.broken and "--whole" not in arguments:
            found = shrunk(found)
        sys.stdout.write(f"{found}\n")
        return 1 if found.broken else 0
    first, last = (int(number) for number in what.split(".."))
    began, broken = time.monotonic(), Counter[str]()
    for seed in range(first, last):
        found = told(seed)
        if found.broken:
            broken[found.broken.name] += 1
            sys.stdout.write(f"seed {seed}: {str(found.broken)[:300]}\n")
    rate = (last - first) / (time.monotonic() - began)
    sys.stdout.write(f"{last - first} schedules, {rate:.0f}/s, broken: {dict(broken) or 'none'}\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
