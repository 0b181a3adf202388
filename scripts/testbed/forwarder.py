"""A TCP port whose target can change, and which can lose responses."""

import contextlib
import socket
import threading


class Forwarder:
    """A port that moves: new connections go to `target`, existing ones stay where they are.

    With `drop_responses`, it closes a connection in place of the response.
    """

    def __init__(self, target, address=("127.0.0.1", 0), drop_responses=False):
        self.target, self.drop_responses = target, drop_responses
        self.listener = socket.create_server(address, backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Ends `accept` as well.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self.target)
            except OSError:
                client.close()
                continue
            for ends in [(client, server, False), (server, client, self.drop_responses)]:
                threading.Thread(target=self.forward, args=ends, daemon=True).start()

    @staticmethod
    def forward(source, sink, drop):
        with contextlib.suppress(OSError):
            while (data := source.recv(65536)) and not drop:
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
