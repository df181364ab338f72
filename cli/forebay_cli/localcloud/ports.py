"""Which TCP ports are free, and who holds those that are not."""

import socket
from typing import Final

import psutil

from forebay_cli.failures import CommandError

HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 4566


def require_free(port: int) -> None:
    """Refuse a port that another program listens on, naming the program where the system tells."""
    if is_free(port):
        return
    raise CommandError(
        f"Port {port} is taken by {holder_of(port)}.",
        f"Stop it, or choose another port: forebay up --port {port + 1}",
    )


def is_free(port: int) -> bool:
    """Tell whether this process could listen on a port of the loopback address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def any_free_port() -> int:
    """Return a port that nobody listens on at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


def holder_of(port: int) -> str:
    """Describe the process that listens on a port, as well as this user may know."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return "another program"
    for connection in connections:
        address = connection.laddr
        if connection.status == psutil.CONN_LISTEN and address and address[1] == port:
            return _describe(connection.pid)
    return "another program"


def _describe(pid: int | None) -> str:
    if pid is None:
        return "a program of another user"
    try:
        process = psutil.Process(pid)
        command = " ".join(process.cmdline()) or process.name()
    except psutil.Error:
        return f"process {pid}"
    return f"process {pid} ({command[:80]})"
