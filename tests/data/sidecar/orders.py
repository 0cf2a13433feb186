"""A service in Python that calls payments and knows nothing of breakers, timeouts or spans.

POST /upstream  says where payments is (the body, a URL).
GET /orders/ID  asks payments to charge, and tells what came of it.
"""

import http.server
import json
import urllib.error
import urllib.request

upstream = ""


class Orders(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        global upstream
        upstream = self.rfile.read(int(self.headers["content-length"])).decode()
        self.answer({})

    def do_GET(self):
        order = self.path.rsplit("/", 1)[-1]
        request = urllib.request.Request(f"{upstream}/charges/{order}")
        # All that a service has to do for its traces: what came with the request goes along with what it sends.
        if "traceparent" in self.headers:
            request.add_header("traceparent", self.headers["traceparent"])
        try:
            with urllib.request.urlopen(request) as reply:
                self.answer({"status": reply.status, "body": reply.read().decode()})
        except urllib.error.HTTPError as error:
            refused_by = error.headers.get("x-fuseboard-refused-by")
            self.answer({"status": error.code, "refused_by": refused_by, "body": error.read().decode()})

    def answer(self, what):
        text = json.dumps(what).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Orders)
print(server.server_address[1], flush=True)
server.serve_forever()
