"""The command line in this process, and what several processes need."""

import os
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


def with_devices(count):
    """The environment of a process with so many CPU devices.

    Without the tests' flag for compiling: programs that are split otherwise would be rounded otherwise.
    """
    return os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={count}"}
