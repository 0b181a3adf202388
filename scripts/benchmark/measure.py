"""The measurements: wrk against the service, pgbench against PostgreSQL."""

import contextlib
import glob
import json
import os
import pathlib
import re
import resource
import shutil
import socket
import statistics
import subprocess
import time
from urllib.parse import urlencode

from benchmark import BENCHES, log
from benchmark.data import LISTED, check_writes, sid
from testbed import Failure, output
from testbed.client import Client

SHORT_CODES = "/core/v2/phonenumber/short_codes"
IDLE_CONNECTIONS = 10_000
TICKS = os.sysconf("SC_CLK_TCK")


class Bench:
    """The servers under test. Its methods measure, and return figures by name."""

    def __init__(self, codes, workspace, postgres, instance, unlogged, peers, tokens):
        self.codes, self.path, self.postgres = codes, workspace.path, postgres
        # The second instance writes no access log. Peers are other programs, by name.
        self.instance, self.unlogged, self.peers = instance, unlogged, peers
        self.token = tokens[0]
        # The numbers of successful writes and of connections that wrote.
        self.answers = self.connections = 0
        self.tokens = self.path / "tokens"
        self.tokens.write_text("".join(token + "\n" for token in tokens[:-2]))
        # Of a partner with many short codes and of one with few.
        self.many, self.few = self.path / "many", self.path / "few"
        self.many.write_text(tokens[-2])
        self.few.write_text(tokens[-1])
        self.prepare_pgbench()

    def prepare_pgbench(self):
        """Gives pgbench's history entries the length of the ones that the service writes."""
        changes = {"name": "Name 12345678", "attributes": {"limits": {"day": 1000}}}
        client = Client(self.token, self.instance.address)
        answer = client.call("PATCH", f"{SHORT_CODES}/{sid(0)}", changes)
        if answer.status != 200:
            raise Failure(f"PATCH: {answer.status} {answer.body.decode()}")
        self.answers += 1
        newest = f"select length(entry) from history where sid = '{sid(0)}' and version = 2"
        update = (BENCHES / "update.sql").read_text()
        update = update.replace(":entry_length", self.postgres.query(newest))
        (self.path / "update.sql").write_text(update)
        shutil.copy(BENCHES / "select.sql", self.path)

    def patch(self, connections, seconds):
        return self.wrk("patch", connections, seconds, writes=True)

    def patch_one(self, connections, seconds):
        return self.wrk("patch-one", connections, seconds, 0, writes=True)

    def get(self, connections, seconds):
        return self.wrk("get", connections, seconds)

    def get_unlogged(self, connections, seconds):
        return self.wrk("get", connections, seconds, instance=self.unlogged)

    def resolve(self, connections, seconds):
        return self.wrk("resolve", connections, seconds)

    def rent(self, connections, seconds):
        return self.wrk("rent", connections, seconds)

    def fixed(self, connections, seconds):
        return self.wrk("path", connections, seconds, "/healthz")

    def of_peer(self, name):
        """The measurements of a peer: name, method, connections and share of the time."""
        peer = self.peers[name]
        path = f"{SHORT_CODES}?limit=100"

        def measure(*arguments, **options):
            return lambda connections, seconds: self.wrk(
                arguments[0], connections, seconds, *arguments[1:], instance=peer, **options
            )

        return [
            (f"{name} PATCH, 32", measure("patch"), 32, 1),
            (f"{name} GET, 32", measure("get"), 32, 1),
            (f"{name} list of 150, 8", measure("path", path, tokens=self.few), 8, 1),
            (f"{name} list of 100,000, 8", measure("path", path, tokens=self.many), 8, 1),
        ]

    def page(self, connections, seconds, number=1):
        arguments = {"filter": "string_key_1 eq common"}
        if number > 1:
            arguments["after"] = sid(self.codes + (number - 1) * 100 - 1)
        return self.list(connections, seconds, self.many, **arguments)

    def deep_page(self, connections, seconds):
        return self.page(connections, seconds, LISTED // 100 * 9 // 10)

    def list_of_many(self, connections, seconds):
        return self.list(connections, seconds, self.many)

    def list_of_few(self, connections, seconds):
        return self.list(connections, seconds, self.few)

    def half_of_many(self, connections, seconds):
        return self.list(connections, seconds, self.many, filter="string_key_2 eq even")

    def uncounted_half_of_many(self, connections, seconds):
        half = {"filter": "string_key_2 eq even", "total": "false"}
        return self.list(connections, seconds, self.many, **half)

    def list(self, connections, seconds, tokens, **arguments):
        path = f"{SHORT_CODES}?{urlencode({'limit': 100, **arguments})}"
        return self.wrk("path", connections, seconds, path, tokens=tokens)

    def pgbench_update(self, clients, seconds):
        return self.pgbench("update", clients, seconds, self.codes)

    def pgbench_update_one(self, clients, seconds):
        return self.pgbench("update", clients, seconds, 1)

    def pgbench_select(self, clients, seconds):
        return self.pgbench("select", clients, seconds, self.codes)

    def wrk(
        self, work, connections, seconds, *argument, tokens=None, writes=False, instance=None
    ):
        """Runs wrk with one thread. A status other than 200 ends the benchmark."""
        instance = instance or self.instance
        command = [
            "wrk", "--threads=1", f"--connections={connections}", f"--duration={seconds}s",
            "--timeout=10s", "--latency", f"--script={BENCHES}/load.lua", instance.url,
            "--", work, self.codes, tokens or self.tokens, *argument,
        ]
        # The access log never reaches the disk.
        os.truncate(self.instance.log, 0)
        before, client = self.costs(instance), ended_children_time()
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        wrk = subprocess.Popen([str(word) for word in command], **pipes)
        try:
            time.sleep(seconds * 0.8)
            memory = self.memory(instance)
            text, _ = wrk.communicate()
        finally:
            wrk.kill()
        client = ended_children_time() - client
        spent = difference(self.costs(instance), before)
        if wrk.returncode:
            raise Failure(text)
        result = json.loads(text.splitlines()[-1])
        answers = result["answers"]
        if result["rejected"] or result["broken"] or not answers:
            lines = self.instance.log.read_text().splitlines()
            others = [line for line in lines if '"status":200' not in line]
            raise Failure("\n".join([text, *others[:5]]))
        if writes:
            self.answers += answers
            self.connections += connections
        return {
            "rate": answers / result["seconds"],
            **{name: result[name] for name in ("p50", "p99", "max")},
            "memory": memory,
            "service_us": spent["service"] / answers * 1e6,
            "client_us": client / answers * 1e6,
            **per_transaction(spent, answers),
        }

    def pgbench(self, script, clients, seconds, codes):
        """Runs pgbench with prepared statements over TCP, and times a sample of transactions."""
        logs, seconds = self.path / "pgbench", max(1, round(seconds))
        command = [
            "pgbench", "--no-vacuum", "--protocol=prepared", f"--client={clients}",
            f"--jobs={min(clients, 2)}", f"--time={seconds}", "--define=first=0",
            f"--define=last={codes - 1}", "--log", f"--log-prefix={logs}",
            f"--sampling-rate={1 if clients == 1 else 0.1}", f"--file={self.path}/{script}.sql",
            "--host=127.0.0.1", f"--port={self.postgres.port}", "--username=shortline", "shortline",
        ]
        before, client = self.costs(self.instance), ended_children_time()
        lines = output(command).splitlines()
        client = ended_children_time() - client
        spent = difference(self.costs(self.instance), before)
        result = dict(line.split(" = ", 1) for line in lines if " = " in line)
        rate = float(result["tps"].split()[0])
        times = []
        for path in glob.glob(f"{logs}.*"):
            with open(path) as transactions:
                times += [int(line.split()[2]) / 1000 for line in transactions]
            os.unlink(path)
        hundredths = statistics.quantiles(corrected(times, clients / rate * 1000), n=100)
        return {
            "rate": rate, "p50": hundredths[49], "p99": hundredths[98], "max": max(times),
            "client_us": client / (rate * seconds) * 1e6,
            **per_transaction(spent, rate * seconds),
        }

    def costs(self, instance):
        """Processor time in seconds, bytes of WAL, writing transactions since the start."""
        wal, redo, xids = self.postgres.query("""
            select pg_current_wal_lsn() - '0/0', redo_lsn - '0/0',
                pg_snapshot_xmax(pg_current_snapshot())
            from pg_control_checkpoint()
        """).split("|")
        server = processor_time(self.postgres.pid, ended=True)
        return {
            "service": sum(map(processor_time, processes(instance.pid))),
            "postgres": server + sum(map(processor_time, self.postgres.children())),
            "wal": float(wal),
            "redo": float(redo),
            "xids": int(xids),
        }

    def memory(self, instance=None):
        """A service's share of the machine's memory in MiB (PSS), over all of its processes."""
        return sum(map(memory_of, processes((instance or self.instance).pid)))

    def memory_with_idle_connections(self):
        """The memory with many open connections, each after one request."""
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        request = (
            f"GET {SHORT_CODES}/{sid(0)} HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {self.token}\r\n\r\n"
        )
        with contextlib.ExitStack() as stack:
            for number in range(IDLE_CONNECTIONS):
                # One source address does not have enough ports.
                source = (f"127.0.0.{2 + number % 8}", 0)
                connection = socket.create_connection(self.instance.address, 10, source)
                stack.enter_context(connection)
                connection.sendall(request.encode())
                if not connection.recv(4096).startswith(b"HTTP/1.1 200"):
                    raise Failure(f"idle connection {number} does not get a 200")
            return self.memory()

    def check(self):
        whole, sentence = check_writes(self.postgres, self.answers, self.connections)
        log(f"# {sentence}")
        if not whole:
            raise Failure("updates were lost or applied twice")


def processes(pid):
    """A process and its descendants."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in processes(child))]


def memory_of(pid):
    with open(f"/proc/{pid}/smaps_rollup") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:"))


def difference(after, before):
    return {name: after[name] - before[name] for name in before}


def per_transaction(spent, transactions):
    return {
        "postgres_us": spent["postgres"] / transactions * 1e6,
        "wal": spent["wal"] / transactions,
        # The inverse of the size of a batch of writes.
        "writing_transactions": spent["xids"] / transactions,
        "checkpoints": spent["redo"] != 0,
    }


def corrected(times, interval):
    """Corrects times for coordinated omission, as wrk does.

    A stall also delays the requests that the client would have sent meanwhile.
    """
    delayed = [time for time in times if time >= 2 * interval]
    return times + [late for time in delayed for late in omitted(time - interval, interval)]


def omitted(time, interval):
    while time > interval:
        yield time
        time -= interval


def processor_time(pid, ended=False):
    """The seconds that a process has used; `ended` adds the ones of its ended children."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(map(int, fields[11:15 if ended else 13])) / TICKS


def ended_children_time():
    """The seconds of processor time that the ended children of this process have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measurements(bench, only):
    """Name, method, connections and share of the time. Compared ones follow each other."""
    whole, part = 1, 0.25
    wanted = [
        ("pgbench update, 8", bench.pgbench_update, 8, whole),
        ("PATCH, 8", bench.patch, 8, whole),
        ("pgbench update, 16", bench.pgbench_update, 16, whole),
        ("PATCH, 32", bench.patch, 32, whole),
        ("pgbench update, 32", bench.pgbench_update, 32, whole),
        ("PATCH, 64", bench.patch, 64, whole),
        ("pgbench update, 1", bench.pgbench_update, 1, whole),
        ("PATCH, 1", bench.patch, 1, whole),
        ("PATCH, 256", bench.patch, 256, whole),
        ("pgbench hot row, 32", bench.pgbench_update_one, 32, whole),
        ("hot row, 32", bench.patch_one, 32, whole),
        ("pgbench select, 8", bench.pgbench_select, 8, whole),
        ("pgbench select, 16", bench.pgbench_select, 16, whole),
        ("GET, 32", bench.get, 32, whole),
        ("GET without log, 32", bench.get_unlogged, 32, whole),
        ("resolve, 32", bench.resolve, 32, whole),
        ("pgbench select, 32", bench.pgbench_select, 32, whole),
        ("list page 1, 8", bench.page, 8, whole),
        ("list page 900, 8", bench.deep_page, 8, whole),
        ("list of 150, 1", bench.list_of_few, 1, whole),
        ("list of 100,000, 1", bench.list_of_many, 1, whole),
        ("half of 100,000, 1", bench.half_of_many, 1, whole),
        ("half without total, 1", bench.uncounted_half_of_many, 1, whole),
        ("fixed body, 32", bench.fixed, 32, whole),
        ("fixed body, 64", bench.fixed, 64, whole),
        ("rent and release, 8", bench.rent, 8, whole),
        ("rent and release, 32", bench.rent, 32, whole),
    ]
    if bench.peers:
        wanted += [
            ("list of 150, 8", bench.list_of_few, 8, whole),
            ("list of 100,000, 8", bench.list_of_many, 8, whole),
            *(one for name in bench.peers for one in bench.of_peer(name)),
        ]
    wanted += [(f"GET, {n}", bench.get, n, part) for n in (1, 8, 64, 256)]
    wanted += [(f"hot row, {n}", bench.patch_one, n, part) for n in (1, 8, 64, 256)]
    # Long enough to outlast the requests that earlier clients have left: a second of lists. A partner
    # has at most 64 lists in the queue.
    wanted += [
        (f"list page 1, {n}", bench.page, n, whole if n > 32 else part) for n in (1, 32, 64)
    ]
    return [one for one in wanted if re.search(only, one[0])]


def measure(bench, rounds, seconds, only):
    """Runs the rounds, every other one in reverse. Returns the figures of each by name."""
    wanted = measurements(bench, only)
    for _, method, connections, _ in wanted[:6]:
        method(connections, 1)
    results = []
    for number in range(rounds):
        log(f"# Round {number + 1} of {rounds}")
        results.append({})
        for name, method, connections, share in wanted if number % 2 == 0 else wanted[::-1]:
            figures = method(connections, max(1, round(seconds * share)))
            results[-1][name] = figures
            # Requests in flight may still run.
            time.sleep(0.2)
            p50, p99 = figures["p50"], figures["p99"]
            log(f"{name:22} {figures['rate']:8.0f}/s  p50 {p50:7.2f} ms  p99 {p99:7.2f} ms")
    return results
