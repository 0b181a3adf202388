"""A private PostgreSQL server."""

import glob
import os
import pathlib
import shutil

from testbed import as_server_user, free_port, output

# Enough for tests: a crash of the machine may lose the data.
FAST = {"fsync": "off"}
# Durable, as PostgreSQL is by default (fsync, synchronous_commit and full_page_writes are on).
DURABLE = {"shared_buffers": "512MB", "max_wal_size": "4GB"}


def add_programs_to_path():
    """Puts the server programs of Debian's packages on the PATH, the newest version first."""
    folders = glob.glob("/usr/lib/postgresql/*/bin")
    folders.sort(key=lambda folder: float(folder.split("/")[-2]), reverse=True)
    os.environ["PATH"] = os.pathsep.join([*folders, os.environ["PATH"]])


add_programs_to_path()


class Postgres:
    """A server in a folder of the workspace, which stops it at the end."""

    def __init__(self, workspace, settings, name="postgres", address="127.0.0.1", port=None):
        self.folder, self.log = workspace.path / name, workspace.path / f"{name}.log"
        self.data = self.folder / "data"
        self.address, self.port = address, port or free_port(address)
        self.password = ""
        settings = {
            "listen_addresses": address,
            "port": self.port,
            "unix_socket_directories": self.folder,
            **settings,
        }
        self.options = " ".join(f"-c {name}={value}" for name, value in settings.items())

    def create(self, password_file=None):
        """Creates a cluster with an empty database `shortline`, and starts it."""
        self.create_folder()
        auth = ["--auth=trust"]
        if password_file:
            auth = ["--auth=scram-sha-256", f"--pwfile={password_file}"]
            self.password = ":" + pathlib.Path(password_file).read_text()
        text = ["--username=shortline", "--encoding=UTF8", "--locale=C"]
        self.run("initdb", f"--pgdata={self.data}", "--no-sync", *text, *auth)
        self.start()
        self.query("create database shortline", database="postgres")
        return self

    def create_standby(self, workspace, settings, name):
        """Creates and starts a standby of this server."""
        standby = Postgres(workspace, settings, name)
        standby.create_folder()
        self.run(
            "pg_basebackup", f"--pgdata={standby.data}", f"--dbname={self.url('postgres')}",
            "--write-recovery-conf", "--checkpoint=fast", "--no-sync",
        )
        standby.start()
        return standby

    def create_folder(self):
        self.folder.mkdir()
        # The server appends to it as its own user.
        self.log.touch()
        if as_server_user():
            for path in (self.folder, self.log):
                shutil.chown(path, "postgres")

    def run(self, *command):
        output([*as_server_user(), *command], cwd=self.folder, timeout=60)

    def start(self):
        start = ["start", "--wait", f"--log={self.log}", f"--options={self.options}"]
        self.run("pg_ctl", f"--pgdata={self.data}", *start)

    def kill(self):
        """Stops the server without a shutdown, as a crash does."""
        self.run("pg_ctl", f"--pgdata={self.data}", "stop", "--mode=immediate")

    @property
    def pid(self):
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def children(self):
        """The process ids of the backends and background workers."""
        children = pathlib.Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def url(self, database="shortline", port=None):
        address = f"{self.address}:{port or self.port}"
        return f"postgres://shortline{self.password}@{address}/{database}"

    def psql(self, *arguments, database="shortline"):
        quiet = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"]
        return ["psql", *quiet, "--set=ON_ERROR_STOP=1", self.url(database), *arguments]

    def query(self, *statements, database="shortline"):
        """Runs statements and returns their rows, one a line."""
        commands = [f"--command={statement}" for statement in statements]
        return output(self.psql(*commands, database=database)).strip()

    def run_file(self, path):
        output(self.psql(f"--file={path}"))

    def schema(self, database):
        """The lines of a dump of the schema."""
        lines = output(["pg_dump", "--schema-only", self.url(database)]).splitlines()
        # These two lines contain a random key.
        return [line for line in lines if not line.startswith(("\\restrict", "\\unrestrict"))]
