"""Writes what Python looks up and connects to into the file `WATCHED_NETWORK`."""

import os
import socket
import sys
from pathlib import Path
from typing import Any


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook, which no module can get round by a name of its own for a function of `socket`."""
    is_lookup = event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
    is_inet = event == "socket.connect" and arguments[0].family in (socket.AF_INET, socket.AF_INET6)
    if is_lookup or is_inet:
        with Path(os.environ["WATCHED_NETWORK"]).open("a", encoding="utf-8") as file:
            file.write(f"{sys.argv[:3]} {event} {arguments[1:] if is_inet else arguments}\n")


sys.addaudithook(_watch)
