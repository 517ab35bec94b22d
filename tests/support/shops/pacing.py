"""A process that takes turns, as each worker does. Run as a program."""

import sys

from support.pace import main

main(*sys.argv[1:])
