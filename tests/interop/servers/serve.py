"""Becomes a server of Debian's: ``serve.py NAME PORT``; its data is in ``target``, anew each time."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

name, port = sys.argv[1:]
folder = Path(__file__).parent / "target" / "data" / f"{name}-{port}"
shutil.rmtree(folder, ignore_errors=True)
folder.mkdir(parents=True)
SLAPD = f"""
include /etc/ldap/schema/core.schema
moduleload back_mdb
pidfile {folder}/pid
database mdb
suffix "dc=app"
rootdn "cn=admin,dc=app"
rootpw secret
directory {folder}
"""
MOSQUITTO = f"""
listener {port} 127.0.0.1
allow_anonymous true
"""


def written(text: str) -> str:
    """The path of a configuration with this text."""
    path = folder / "configuration"
    path.write_text(text)
    return str(path)


COMMANDS = {
    "redis": lambda: [
        "redis-server",
        "--port",
        port,
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--dir",
        str(folder),
    ],
    "memcached": lambda: ["memcached", "-p", port, "-l", "127.0.0.1", "-U", "0", "-u", "root"],
    "mosquitto": lambda: ["mosquitto", "-c", written(MOSQUITTO)],
    "slapd": lambda: ["slapd", "-f", written(SLAPD), "-h", f"ldap://127.0.0.1:{port}", "-d", "0"],
    "nats": lambda: ["nats-server", "-a", "127.0.0.1", "-p", port],
}
os.environ["PATH"] += ":/usr/sbin"  # where Debian has some of them
command = COMMANDS[name]()
os.execvp(command[0], command)
