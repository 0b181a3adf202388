"""Clients that send as fast as they can, in a process of their own.

Run as a program, it reads what to send as one line of JSON, sends until standard input closes, and
writes the number of responses by status. The clients do not honour `Retry-After`.
"""

import asyncio
import collections
import json
import subprocess
import sys
import time

from testbed import ROOT, Failure


class Flood:
    """A running flood. Client N sends every request in turn and begins with request N.

    `rate` limits all clients together, in requests per second.
    """

    def __init__(self, token, instances, requests, connections, rate=None):
        addresses = [instance.address for instance in instances]
        self.sent = {
            "token": token, "addresses": addresses, "requests": requests,
            "connections": connections, "rate": rate,
        }

    def __enter__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "testbed.flood"], cwd=ROOT / "scripts",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        self.process.stdin.write(json.dumps(self.sent) + "\n")
        self.process.stdin.flush()
        self.began = time.monotonic()
        return self

    def __exit__(self, *_):
        self.seconds = time.monotonic() - self.began
        written, _ = self.process.communicate(timeout=60)
        if self.process.returncode:
            raise Failure("the flood has failed")
        self.statuses = {int(status): count for status, count in json.loads(written).items()}

    @property
    def rate(self):
        """The responses per second."""
        return sum(self.statuses.values()) / self.seconds


async def read_response(reader):
    """Reads a response, and returns its status."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    await reader.readexactly(length)
    return int(head.split(b" ", 2)[1])


async def client(number, sent, requests, statuses):
    address = sent["addresses"][number % len(sent["addresses"])]
    pause = sent["rate"] and sent["connections"] / sent["rate"]
    turn, writer, status = number // len(sent["addresses"]), None, None
    # Clients with a rate do not send at the same time.
    await asyncio.sleep(pause * number / sent["connections"] if pause else 0)
    while True:
        began = time.monotonic()
        try:
            if writer is None:
                reader, writer = await asyncio.open_connection(*address)
            writer.write(requests[turn % len(requests)])
            status = await read_response(reader)
        except (OSError, asyncio.IncompleteReadError):
            # Also in place of a response.
            writer, status = None, 0
            await asyncio.sleep(0.01)
        statuses[status] += 1
        turn += 1
        if pause:
            await asyncio.sleep(max(began + pause - time.monotonic(), 0))


def encode(method, path, body, token):
    body = b"" if body is None else json.dumps(body).encode()
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def send():
    sent = json.loads(sys.stdin.readline())
    requests = [encode(*request, sent["token"]) for request in sent["requests"]]
    statuses = collections.Counter()
    clients = [
        asyncio.create_task(client(number, sent, requests, statuses))
        for number in range(sent["connections"])
    ]
    await asyncio.to_thread(sys.stdin.read)
    failed = [task for task in clients if task.done()]
    for task in clients:
        task.cancel()
    print(json.dumps(statuses))
    return bool(failed)


if __name__ == "__main__":
    sys.exit(asyncio.run(send()))
