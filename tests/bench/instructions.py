"""User instructions of the data plane for one 1 KB request, by callgrind: python3 tests/bench/instructions.py LLMB_DATA.

The difference between two runs that differ by a known number of requests alone, so that start and end cancel out.
Repeatable whatever else the machine does. Needs valgrind. Ends by itself; talks to loopback only.
"""

import http.client
import http.server
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

from cost import body, free_port, wait_for, write

FEW, MANY = 200, 1200
ANSWER = b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":9}}'


class Backend(http.server.BaseHTTPRequestHandler):
    """Answers at once."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *_):
        pass


def instructions(binary, folder, backend, requests):
    port = free_port()
    snapshot = {"owner": True, "backends": [{
        "name": "b", "url": f"http://127.0.0.1:{backend}", "kind": "OPENAI", "slots": 4096, "health": "HEALTHY",
        "dialects": ["OPENAI_CHAT"], "models": [{"name": "m"}]}]}
    out = f"{folder}/callgrind.{requests}"
    process = subprocess.Popen(
        ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", binary, "--threads", "1",
         "--snapshot", write(f"{folder}/snapshot.json", json.dumps(snapshot)), "--state-dir", f"{folder}/{requests}",
         "--listen", f"127.0.0.1:{port}", "--admin-listen", f"127.0.0.1:{free_port()}"],
        stderr=subprocess.PIPE, text=True)
    said = []
    reader = threading.Thread(target=lambda: said.extend(process.stderr))
    reader.start()
    deadline = time.monotonic() + 60
    while not any("data plane serves" in line for line in said):
        if time.monotonic() > deadline:
            raise SystemExit("it does not start:\n" + "".join(said))
    wait_for(port)
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for _ in range(requests):
        client.request("POST", "/v1/chat/completions", body(1000), {"content-type": "application/json"})
        answer = client.getresponse()
        if answer.status != 200 or answer.read() != ANSWER:
            raise SystemExit(f"status {answer.status}")
    client.close()
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)
    reader.join(timeout=10)
    total = re.search(r"Collected : (\d+)", "".join(said))
    keep = os.environ.get("KEEP")
    if keep and requests == MANY:
        os.replace(out, keep)
    return int(total.group(1))


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        few, many = (instructions(sys.argv[1], folder, server.server_address[1], count) for count in (FEW, MANY))
    print(f"{(many - few) / (MANY - FEW):.0f} user instructions a request of 1 KB")


if __name__ == "__main__":
    main()
