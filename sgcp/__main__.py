"""Run the command line as ``python -m sgcp``."""

from sgcp.cli import main

main()
