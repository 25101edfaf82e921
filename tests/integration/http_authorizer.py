"""An HTTP authorizer that records what it is asked and answers what it is told."""

import http.server
import socketserver
import threading
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["Heard", "HttpAuthorizer", "Said"]


class Heard(NamedTuple):
    """What it was asked."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Said(NamedTuple):
    """What it answers."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


class HttpAuthorizer:
    """Listens on a port of 127.0.0.1 until `stop`."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.answer: Callable[[Heard], Said] = lambda _: Said()
        authorizer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def parse_request(self) -> bool:
                if not super().parse_request():
                    return False
                setattr(self, f"do_{self.command}", self._answer)
                return True

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                heard = Heard(self.command, self.requestline.split(" ")[1], headers, body)
                authorizer.heard.append(heard)
                said = authorizer.answer(heard)
                self.send_response(said.status)
                for name, value in said.headers:
                    self.send_header(name, value)
                self.send_header("content-length", str(len(said.body)))
                self.end_headers()
                self.wfile.write(said.body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the standard library's name
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that did not wait is what some tests are about."""
