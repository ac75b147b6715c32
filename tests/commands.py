"""The command line in this process."""

from purejaxrl import cli


def main(*argv):
    """Run a command; its exit code."""
    try:
        cli.main([str(word) for word in argv])
    except SystemExit as exit:
        return exit.code or 0
    return 0
