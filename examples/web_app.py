# SPDX-License-Identifier: Apache-2.0
"""A web application: counts visits in Redis. What `test_web_app.py` tests."""

import http.server
import os
import socket
import sys


def increment(key: str) -> int:
    """Ask Redis to count, in its own protocol."""
    host, _, port = os.environ["DATABASE"].partition(":")
    with socket.create_connection((host, int(port)), timeout=2) as connection:
        connection.sendall(f"INCR {key}\r\n".encode())
        return int(connection.recv(64).decode().strip(":\r\n"))


class Visits(http.server.BaseHTTPRequestHandler):
    """Answers every path with the number of its visits."""

    def do_GET(self) -> None:
        try:
            status, text = 200, f"visit {increment(self.path)}\n"
        except OSError as error:
            status, text = 503, f"no database: {error}\n"
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())


server = http.server.ThreadingHTTPServer(("", 8080), Visits)
sys.stdout.write("serving\n")
sys.stdout.flush()
server.serve_forever()
