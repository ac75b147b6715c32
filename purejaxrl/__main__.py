"""``purejaxrl`` and ``python -m purejaxrl`` are the command line."""

import signal


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # as this imports, a Ctrl-C has nothing to unwind: no traceback
    from purejaxrl import cli

    cli.main()


if __name__ == "__main__":
    main()
