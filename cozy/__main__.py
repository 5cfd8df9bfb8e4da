"""`python -m cozy`."""

from cozy.cli import main

main()
