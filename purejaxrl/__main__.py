"""``python -m purejaxrl`` is the command line."""

from purejaxrl.cli import main

main()
