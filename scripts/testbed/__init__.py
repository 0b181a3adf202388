"""Private servers and processes for the scripts: PostgreSQL, Shortline, clients and checks.

Settings of the caller's environment do not reach the programs that the scripts start.
"""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")

for _variable in list(os.environ):
    if _variable.startswith(("SHORTLINE_", "DATABASE_", "PG", "RUST_")):
        del os.environ[_variable]

# Stops the processes of a workspace and removes its folder once standard input closes.
# A session of its own protects it from Ctrl-C.
GUARD = """
read -r _
cd "$1"
pids=$(cat ./*.pid)
kill -TERM $pids
sleep 0.3
kill -KILL $pids
for data in ./*/data; do
    # A server that a test has frozen could not stop.
    server=$(head -n 1 "$data/postmaster.pid")
    kill -CONT $server $(cat /proc/$server/task/$server/children)
    $2 pg_ctl --pgdata="$data" --mode=immediate stop
done
cd / && rm -rf "$1"
"""


class Failure(Exception):
    """A failed check or command."""


class Workspace:
    """A temporary folder and its processes. Both end with the script, even if it is killed."""

    def __enter__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="shortline-"))
        # The user of the PostgreSQL server can enter it.
        self.path.chmod(0o755)
        guard = ["sh", "-c", GUARD, "guard", self.path, " ".join(as_server_user())]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.guard = subprocess.Popen(
            guard, stdin=subprocess.PIPE, start_new_session=True, **quiet
        )
        return self

    def __exit__(self, _type, error, _traceback):
        if isinstance(error, Exception):
            self.print_logs()
        self.guard.stdin.close()
        self.guard.wait()

    def print_logs(self):
        """Prints the last lines of every log."""
        for log in sorted(self.path.glob("*.log")):
            lines = log.read_text(errors="replace").splitlines()[-8:]
            print(f"--- {log.name}", *lines, sep="\n", file=sys.stderr)


class Process:
    """A background program. Its standard error goes to the log NAME.log of the workspace."""

    def __init__(self, workspace, name, command, **options):
        self.log = workspace.path / f"{name}.log"
        self.pid_file = workspace.path / f"{name}.pid"
        self.command, self.options = command, options
        self.start()

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stderr=log, **self.options
            )
        self.pid_file.write_text(f"{self.process.pid}\n")

    @property
    def pid(self):
        return self.process.pid

    def is_running(self):
        return self.process.poll() is None

    def terminate(self):
        self.process.terminate()

    def kill(self):
        self.process.kill()
        self.wait()

    def wait(self, seconds=60):
        """Waits for the end of the process and returns its exit status."""
        status = self.process.wait(seconds)
        self.pid_file.unlink(missing_ok=True)
        return status


def as_server_user():
    """The prefix of commands of the PostgreSQL server, which refuses to run as root."""
    return ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []


def free_port(address="127.0.0.1"):
    with socket.socket() as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]


def eventually(condition, seconds=20.0):
    """Waits until the condition holds. Returns False if it does not hold in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def check(sentence, holds):
    """Prints the result of a check; a failed one ends the script."""
    if not holds:
        raise Failure(sentence)
    print("ok:", sentence, flush=True)


def output(command, **options):
    """Runs a command and returns its standard output; raises Failure if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode:
        name = pathlib.Path(command[0]).name
        raise Failure(f"{name} failed with status {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def run(main):
    """Runs a script. Ctrl-C and SIGTERM unwind the stack, so that everything is stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with contextlib.suppress(KeyboardInterrupt):
            sys.exit(main())
        sys.exit(130)
    except (Failure, subprocess.TimeoutExpired) as failure:
        sys.exit(f"FAILED: {failure}")
