"""Webhooks of MLflow, signed, doubled and forged, as files that the load sends; and a registry to be looked at meanwhile.

    python3 hook_deliveries.py write PREFIX SECRET COUNT SEED   # PREFIX.ndjson and PREFIX.headers; prints the numbers as JSON
    python3 hook_deliveries.py registry FILE                    # prints its port; writes its number of looks on SIGTERM

Of COUNT requests a fifth are copies of others, and a tenth are forged: their body is another one than was signed. They
come in random order, so that a copy may come before its original. All are signed with the time of this call, which is good
for five minutes.

Invariant: nothing but the standard library is used, and every forged delivery would be new if it were taken.
"""

import base64
import hashlib
import hmac
import json
import random
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def delivery(secret, number, moment, is_forged):
    """A delivery as MLflow 3 makes it: headers and body."""
    body = json.dumps({
        "entity": "model_version_alias",
        "action": "created",
        "timestamp": "2026-01-01T00:00:00+00:00",
        "data": {"name": "churn", "alias": "champion", "version": str(number)},
    })
    identity = f"load-{number}"
    signature = hmac.new(secret.encode(), f"{identity}.{moment}.{body}".encode(), hashlib.sha256).digest()
    headers = {
        "X-MLflow-Delivery-Id": identity,
        "X-MLflow-Timestamp": str(moment),
        "X-MLflow-Signature": "v1," + base64.b64encode(signature).decode(),
    }
    return headers, body.replace("champion", "shadowed") if is_forged else body


def write(prefix, secret, count, seed):
    moment, chooser = int(time.time()), random.Random(seed)
    forged, copies = count // 10, count // 5
    # The numbers of one call are not those of another, so that a second run is new to the same gateway.
    first = seed * 1_000_000
    distinct = [delivery(secret, first + number, moment, False) for number in range(count - forged - copies)]
    others = [delivery(secret, first + len(distinct) + number, moment, True) for number in range(forged)]
    requests = distinct + others + chooser.choices(distinct, k=copies)
    chooser.shuffle(requests)
    Path(f"{prefix}.headers").write_text("".join(json.dumps(headers) + "\n" for headers, _ in requests))
    Path(f"{prefix}.ndjson").write_text("".join(body + "\n" for _, body in requests))
    print(json.dumps({"accepted": len(distinct), "repeated": copies, "refused": forged}))


class Registry(BaseHTTPRequestHandler):
    """Answers whatever is asked that the model has no aliases."""

    protocol_version = "HTTP/1.1"
    looks = 0

    def do_GET(self):
        Registry.looks += 1
        answer = json.dumps({"registered_model": {"name": "churn", "aliases": []}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def registry(counted):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    server.daemon_threads = True

    def end(*_):
        Path(counted).write_text(f"{Registry.looks}\n")
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    if what == "write":
        write(arguments[0], arguments[1], int(arguments[2]), int(arguments[3]))
    elif what == "registry":
        registry(arguments[0])
    else:
        sys.exit(f"unknown: {what}")
