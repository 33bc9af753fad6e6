"""``python -m daemon`` is ``openbell``."""

from daemon.cli import main

main()
