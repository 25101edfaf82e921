"""Small real applications for a sidecar to stand in front of."""

import http.server
import json
import socketserver
import threading

from demo.part import Part
from demo.wire import Endpoint

__all__ = ["Application", "EchoServer", "HttpApplication"]


class Application(Part):
    """A server on a thread of its own and a port that the system chose. It ends with `stop` or at the end of a `with`."""

    def __init__(self, handler: type[socketserver.BaseRequestHandler]) -> None:
        self._server = _Server(("127.0.0.1", 0), handler)
        host, port = self._server.server_address[:2]
        self.endpoint = Endpoint(str(host), port)
        # It asks every so often whether it should end; the default is half a second.
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it; calls that are being answered are left to themselves."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class HttpApplication(Application):
    """HTTP/1.1: answers any request with what it saw, as JSON: `method`, `target` as written, `headers` as pairs."""

    def __init__(self) -> None:
        super().__init__(_Mirror)


class EchoServer(Application):
    """TCP: sends back what it gets."""

    def __init__(self) -> None:
        super().__init__(_Echo)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    # Closing must not wait for the connections that Envoy keeps open for later.
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: an Envoy that ends resets the connections it kept."""


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.request.sendall(data)


class _Mirror(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # The answer in one piece: head and body apart cost the 40 ms that TCP waits for an acknowledgement.
    wbufsize = -1

    def parse_request(self) -> bool:
        """Answer every method alike."""
        if not super().parse_request():
            return False
        setattr(self, f"do_{self.command}", self._answer)
        return True

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        if "transfer-encoding" in self.headers:
            # The body stays unread, so nothing after it can be understood.
            self.close_connection = True
        # Not `self.path`: the standard library repairs targets that begin with two slashes.
        target = self.requestline.split(" ")[1]
        seen = {"method": self.command, "target": target, "headers": self.headers.items()}
        body = json.dumps(seen).encode()
        self.send_response(http.HTTPStatus.OK)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the standard library's name
        """Say nothing: Envoy's access log says it."""
