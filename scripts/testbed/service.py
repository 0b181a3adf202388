"""The program `shortline`: its commands, its instances, and `shortline dev`."""

import functools
import http.client
import json
import os
import pathlib
import re
import secrets

from testbed import TARGET, Failure, Process, eventually, free_port, output

SECRET = secrets.token_hex(32)


@functools.cache
def program():
    """The binary under test: $SHORTLINE, by default the one that cargo built last."""
    if "SHORTLINE" in os.environ:
        built = [pathlib.Path(os.environ["SHORTLINE"]).resolve()]
    else:
        built = [TARGET / profile / "shortline" for profile in ("debug", "release")]
    found = [path for path in built if path.exists()]
    if not found:
        raise Failure(f"{built[0]} does not exist; run `cargo build`, or set SHORTLINE")
    return str(max(found, key=lambda path: path.stat().st_mtime))


class Shortline:
    """The program with its settings, which are environment variables."""

    def __init__(self, workspace, binary=None, **settings):
        self.workspace, self.settings = workspace, settings
        self.binary = binary or program()
        # The prefix of its commands, to run it as another user.
        self.as_user = []
        if "SHORTLINE_JWT_SECRET_FILE" not in settings:
            settings.setdefault("SHORTLINE_JWT_SECRET", SECRET)

    def environment(self, **settings):
        return {**os.environ, **self.settings, **settings}

    def run(self, *words, **settings):
        """Runs a command and returns what it prints."""
        command = [*self.as_user, self.binary, *words]
        return output(command, env=self.environment(**settings), timeout=600)

    def json(self, *words, input=None):
        command = [*self.as_user, self.binary, *words, "--json"]
        return json.loads(output(command, env=self.environment(), timeout=60, input=input))

    def create_partner(self, name, *arguments):
        """Creates a partner and returns its sid."""
        return self.json("partner", "create", f"--name={name}", *arguments)["partner_sid"]

    def issue_token(self, partner, *arguments):
        """Issues an access token with all scopes of the partner, unless arguments say others."""
        issue = ["token", "issue", f"--partner={partner}", "--expires-in=86400"]
        return self.json(*issue, *arguments)["access_token"]

    def start(self, name, address=None, **settings):
        """Starts an instance. It may not be ready yet."""
        return Instance(self, name, address or ("127.0.0.1", free_port()), settings)


class Instance(Process):
    """A running `shortline serve`."""

    def __init__(self, shortline, name, address, settings):
        self.address, self.url = address, "http://{}:{}".format(*address)
        listen = "{}:{}".format(*address)
        environment = shortline.environment(SHORTLINE_LISTEN=listen, **settings)
        command = [*shortline.as_user, shortline.binary, "serve"]
        super().__init__(shortline.workspace, name, command, env=environment)

    def get(self, path, seconds=12):
        """The status of a GET over a new connection; None without a response."""
        connection = http.client.HTTPConnection(*self.address, timeout=seconds)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def is_ready(self):
        return self.get("/readyz") == 200

    def peak_memory(self):
        """The most memory that the process has used, in MiB."""
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024

    def wait_until_ready(self):
        eventually(lambda: self.is_ready() or not self.is_running())
        if not self.is_ready():
            raise Failure(f"{self.log.stem} does not become ready")
        return self


class Dev(Process):
    """A running `shortline dev --ephemeral`: the service with its own database and demo data."""

    def __init__(self, workspace, port=0, **settings):
        environment = Shortline(workspace, **settings).environment()
        command = [program(), "dev", "--ephemeral", f"--listen=127.0.0.1:{port}"]
        greeting = workspace.path / "dev.out"
        with open(greeting, "wb") as out:
            super().__init__(workspace, "dev", command, env=environment, stdout=out)
        # Printed when the service is ready.
        eventually(lambda: greeting.stat().st_size or not self.is_running(), 30)
        self.greeting = greeting.read_text()
        found = re.search(r"(http://[\d.:]+).*\bdata in ([^;)]+)", self.greeting)
        if not found:
            raise Failure("`shortline dev` does not start")
        self.url = found[1]
        host, port = self.url.removeprefix("http://").split(":")
        self.address = (host, int(port))
        database = f"postgres://shortline@localhost/shortline?host={found[2]}"
        self.shortline = Shortline(workspace, DATABASE_URL=database, **settings)
