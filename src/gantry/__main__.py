"""`python -m gantry` is `gantry`."""

from gantry.cli.main import main

main()
