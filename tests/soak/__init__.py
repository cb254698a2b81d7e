"""Does it stay as it is? The real server under mixed load and mild faults for an hour, and what it holds meanwhile."""
