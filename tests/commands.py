"""The command line in this process, and what several processes need."""

import socket

from purejaxrl import cli


def main(*argv):
    """Run a command; its exit code."""
    try:
        cli.main([str(word) for word in argv])
    except SystemExit as exit:
        return exit.code or 0
    return 0


def free_port():
    """A port on which processes can find each other."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return str(free.getsockname()[1])
