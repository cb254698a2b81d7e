"""`python -m molva` is `molva`."""

from molva.cli import main

main()
