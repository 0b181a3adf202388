"""HTTP clients, and the load that they put on instances."""

import http.client
import itertools
import json
import threading
import time


class Answer:
    """The response to one request. Its status is None if there was no response."""

    def __init__(self, began, status, headers, body):
        self.began, self.ended = began, time.monotonic()
        self.status, self.headers, self.body = status, headers, body

    @property
    def took(self):
        return self.ended - self.began

    def json(self):
        return json.loads(self.body)


class Client:
    """A client with a persistent connection. After a failure it uses the next address."""

    def __init__(self, token, *addresses, source=None):
        self.addresses, self.connection = itertools.cycle(addresses), None
        self.source = source and (source, 0)
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def call(self, method, path, body=None, **headers):
        began = time.monotonic()
        try:
            if self.connection is None:
                address = next(self.addresses)
                self.connection = http.client.HTTPConnection(
                    *address, timeout=60, source_address=self.source
                )
            headers = self.headers | headers
            text = None if body is None else json.dumps(body)
            self.connection.request(method, path, text, headers)
            answer = self.connection.getresponse()
            return Answer(began, answer.status, answer.headers, answer.read())
        except (OSError, http.client.HTTPException):
            self.close()
            time.sleep(0.005)
            return Answer(began, None, {}, b"")

    def close(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None


class Load:
    """Clients that write as fast as they can, each time another name, to shared objects.

    With idempotency keys, a client repeats a request until it gets a 200. With the method GET,
    clients read, and with POST they create objects.
    """

    names = itertools.count()

    def __init__(self, token, addresses, paths, clients=8, keys=False, pause=0.0, method="PATCH"):
        self.token, self.addresses, self.paths = token, addresses, paths
        self.method = method
        self.keys, self.pause, self.replayed = keys, pause, 0
        self.answers, self.acknowledged, self.stopped = [], set(), threading.Event()
        self.threads = [
            threading.Thread(target=self.write, args=[number], daemon=True)
            for number in range(clients)
        ]
        self.name = next(Load.names)

    def write(self, number):
        first = number % len(self.addresses)
        client = Client(self.token, *self.addresses[first:], *self.addresses[:first])
        path = self.paths[number // len(self.addresses) % len(self.paths)]
        for count in itertools.count():
            if self.stopped.wait(self.pause) if self.pause else self.stopped.is_set():
                return
            name = f"{self.name}-{number}-{count}"
            key = {"Idempotency-Key": name} if self.keys else {}
            while True:
                body = None if self.method == "GET" else {"name": name}
                answer = client.call(self.method, path, body, **key)
                self.answers.append(answer)
                if not self.keys or answer.status == 200:
                    break
            if answer.status == 200:
                self.acknowledged.add(name)
                self.replayed += "Idempotency-Replayed" in answer.headers

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        time.sleep(1)
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join(timeout=60)

    def count(self, status, since=0.0):
        return sum(
            answer.status == status and answer.began >= since for answer in list(self.answers)
        )

    def statuses(self):
        return {answer.status for answer in self.answers}

    def only_503_with_retry_after(self):
        """True if every answer is a 200, or a 503 with `Retry-After`."""
        rejected = [answer for answer in self.answers if answer.status == 503]
        retry = all(answer.headers["Retry-After"] == "1" for answer in rejected)
        return self.statuses() <= {200, 503} and retry

    def longest(self):
        return max(answer.took for answer in self.answers)

    def first_success(self, since=0.0):
        """The end of the first 200 after a time."""
        times = [answer.ended for answer in self.answers if answer.status == 200]
        return min((time for time in times if time > since), default=float("inf"))

    def last_failure(self):
        return max((answer.ended for answer in self.answers if answer.status != 200), default=0.0)
