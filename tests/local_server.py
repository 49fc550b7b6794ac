"""A web server on this machine that misbehaves as tests ask."""

import contextlib
import http.server
import threading

__all__ = ["serving"]


class Site:
    """Files of a server, and what was asked for.

    Attributes:
        files: dict path -> bytes.
        requests: list of (path, Range header or None).
        cut: list of ints: the next answers end after so many bytes, the connection with them.
        codes: list of ints: the next answers are these errors.
        tags: bool, whether files have an ETag.
        ranges: bool, whether parts of files are given.
        garbage: bool, whether answers are no HTTP.
        shift: int, how far the parts given lie from those asked for.
        gate: threading.Event that answers wait for, set at first.
    """

    def __init__(self):
        self.files, self.requests, self.cut, self.codes = {}, [], [], []
        self.tags = self.ranges = True
        self.garbage, self.shift = False, 0
        self.gate = threading.Event()
        self.gate.set()
        self.url = None


def _handler(site):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            asked = self.headers.get("Range")
            site.requests.append((self.path, asked))
            site.gate.wait(20)
            if site.garbage:
                self.wfile.write(b"this is no HTTP\r\n\r\n")
                self.close_connection = True
                return
            content = site.files.get(self.path.partition("?")[0])
            if site.codes or content is None:
                self.send_error(site.codes.pop(0) if site.codes else 404)
                return
            tag = f'"{hash(content):x}"'
            start = self._start(asked, tag)
            if start:
                start += site.shift
            if start > len(content) or (start == len(content) and start):
                self.send_error(416)
                return
            body = content[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            if start:
                last = len(content) - 1
                self.send_header("Content-Range", f"bytes {start}-{last}/{len(content)}")
            if site.tags:
                self.send_header("ETag", tag)
            self.end_headers()
            if site.cut:
                self.wfile.write(body[: site.cut.pop(0)])
                self.close_connection = True
            else:
                self.wfile.write(body)

        def _start(self, asked, tag):
            wanted = self.headers.get("If-Range", tag)
            if not (site.ranges and asked) or wanted != tag:
                return 0
            return int(asked.removeprefix("bytes=").rstrip("-"))

        def log_message(self, *_):
            pass

    return Handler


@contextlib.contextmanager
def serving():
    """Run a server; yield its `Site`."""
    site = Site()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(site))
    server.daemon_threads = True
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        site.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()
