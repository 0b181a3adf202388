"""What a user would otherwise write: the same requests, served by usual programs of other languages.

They read the tables of the service, and write the copies that pgbench writes.
"""

import shutil

from benchmark import BENCHES
from testbed import TARGET, Failure, Process, eventually, free_port
from testbed.client import Client
from testbed.service import SECRET
from testbed.tools import locked_node_modules, python_environment

HOST = "127.0.0.1"


class Peer(Process):
    """A running program, which serves `/core/v2/phonenumber/short_codes`."""

    def __init__(self, workspace, name, command, postgres, port):
        self.address, self.url = (HOST, port), f"http://{HOST}:{port}"
        environment = {
            "DATABASE_URL": postgres.url(), "JWT_SECRET": SECRET, "NODE_ENV": "production",
            "PATH": "/usr/bin:/bin", "PORT": str(port),
        }
        log = open(workspace.path / f"{name}.out", "ab")
        super().__init__(workspace, name, command, env=environment, stdout=log)

    def wait_until_ready(self, path, token):
        """Waits until each of its processes can be expected to respond."""
        client = Client(token, self.address)

        def responds():
            try:
                return client.call("GET", path).status == 200
            except OSError:
                return False

        if not eventually(responds, 30):
            raise Failure(f"{self.log.stem} does not become ready")
        return self


def fastify(workspace, postgres):
    source = BENCHES / "peers/fastify"
    modules = locked_node_modules("peers/fastify", source)
    server = shutil.copy(source / "server.js", modules.parent)
    node = shutil.which("node")
    return Peer(workspace, "fastify", [node, server], postgres, free_port())


def fastapi(workspace, postgres):
    source, port = BENCHES / "peers/fastapi", free_port()
    programs = python_environment("peers/fastapi", (source / "requirements.txt").read_text())
    command = [
        programs / "uvicorn", "server:app", f"--app-dir={source}", f"--host={HOST}",
        f"--port={port}", "--workers=2",
    ]
    return Peer(workspace, "fastapi", command, postgres, port)


PEERS = {"Fastify": fastify, "FastAPI": fastapi}
