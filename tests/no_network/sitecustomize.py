"""With this folder on PYTHONPATH a Python process reaches nothing but itself.

Python imports `sitecustomize` at its start. Every attempt to leave the machine fails at
once, and is written to the file that NO_NETWORK_LOG names: an attempt that somebody
catches and forgets is an attempt all the same.
"""

import os
import socket

_connect, _connect_ex = socket.socket.connect, socket.socket.connect_ex
_getaddrinfo = socket.getaddrinfo
_HERE = {"localhost", "127.0.0.1", "::1", "0.0.0.0", "", None}


def _refuse(target) -> None:
    log = os.environ.get("NO_NETWORK_LOG")
    if log:
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"{target}\n")
    raise OSError(f"the network is blocked in this test: {target}")


def _is_here(address) -> bool:
    host = address[0] if isinstance(address, tuple) else None  # else a Unix socket
    return host in _HERE or str(host).startswith("127.")


def _guard(original):
    def connect(self, address):
        if not _is_here(address):
            _refuse(address)
        return original(self, address)

    return connect


def _guarded_getaddrinfo(host, *args, **kwargs):
    if isinstance(host, bytes):
        host = host.decode()
    if not _is_here((host,)):
        _refuse(host)
    return _getaddrinfo(host, *args, **kwargs)


socket.socket.connect = _guard(_connect)
socket.socket.connect_ex = _guard(_connect_ex)
socket.getaddrinfo = _guarded_getaddrinfo
