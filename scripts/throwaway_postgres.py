#!/usr/bin/env python3
"""A throw-away PostgreSQL with durable settings, which ends with whoever started it, however that ends.

    scripts/throwaway_postgres.py [SETTING=VALUE]... -- COMMAND...

runs COMMAND with DATABASE_URL, and with POSTGRES_FOLDER, where the server may write. In Python: `with Server() as server`.
"""

import contextlib
import glob
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

# Durable, as PostgreSQL is by itself: fsync, synchronous_commit and full_page_writes stay on.
SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "4GB"}

# Stops the server and removes its folder once our end of standard input closes. In a session of its own, so that Ctrl-C spares it.
GUARD = """
read -r _
work=$1
shift
cd "$work/postgres" && "$@" pg_ctl --pgdata=data --mode=immediate stop
cd / && rm -rf "$work"
"""


def find_programs():
    """Puts the newest server programs of the machine on the PATH."""
    versions = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: float(path.split("/")[-2]))
    os.environ["PATH"] = os.pathsep.join([*reversed(versions), os.environ["PATH"]])


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    def __init__(self, **settings):
        self.settings = {**SETTINGS, **settings}

    def __enter__(self):
        find_programs()
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="shortline-"))
        self.work.chmod(0o755)
        self.folder = self.work / "postgres"
        self.folder.mkdir()
        # PostgreSQL refuses to run as root.
        self.as_owner = []
        if os.geteuid() == 0:
            self.as_owner = ["runuser", "-u", "postgres", "--"]
            shutil.chown(self.folder, "postgres")
        guard = ["sh", "-c", GUARD, "guard", self.work, *self.as_owner]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.guard = subprocess.Popen(guard, stdin=subprocess.PIPE, start_new_session=True, **quiet)
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self):
        self.run("initdb", "--pgdata=data", "--username=shortline", "--auth=trust", "--encoding=UTF8", "--locale=C")
        self.port = free_port()
        self.url = f"postgres://shortline@127.0.0.1:{self.port}/postgres"
        own = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": self.folder}
        options = " ".join(f"-c {name}={value}" for name, value in {**own, **self.settings}.items())
        self.run("pg_ctl", "--pgdata=data", "--log=server.log", "--wait", "start", f"--options={options}")
        self.pid = int((self.folder / "data/postmaster.pid").read_text().split()[0])

    def run(self, *command):
        # The folder is one that the server's user may enter.
        command = [*self.as_owner, *command]
        done = subprocess.run(command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(f"{done.stderr}{self.log()}")

    def log(self):
        log = self.folder / "server.log"
        return log.read_text()[-2000:] if log.exists() else ""

    def query(self, *statements):
        commands = [f"--command={statement}" for statement in statements]
        psql = ["psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", self.url, *commands]
        done = subprocess.run(psql, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"psql: {done.stderr}")
        return done.stdout.strip()

    def __exit__(self, *_):
        self.guard.stdin.close()
        self.guard.wait()


def exit_on_sigterm():
    """SIGTERM ends Python as an exception does: what was started is stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def main():
    if "--" not in sys.argv[:-1]:
        sys.exit(__doc__)
    at = sys.argv.index("--")
    settings, command = sys.argv[1:at], sys.argv[at + 1:]
    exit_on_sigterm()
    with Server(**dict(setting.split("=", 1) for setting in settings)) as server:
        child = subprocess.Popen(command, env={**os.environ, "DATABASE_URL": server.url, "POSTGRES_FOLDER": str(server.folder)})
        try:
            return child.wait()
        finally:
            # Ctrl-C has reached it, too. A shell that waits for a program of its own ends with the server.
            child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(5)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
