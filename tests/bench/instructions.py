"""User instructions of the data plane for one 1 KB request, by callgrind: python3 tests/bench/instructions.py LLMB_DATA.

The difference between two runs that differ by a known number of requests alone, so that start and end cancel out.
Repeatable whatever else the machine does. instructions.txt records what a request cost before data planes shared slots;
with --gate, more than 2 % beyond it is a failure: one that is alone pays nothing for the others.
Needs valgrind. Ends by itself; talks to loopback only.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from cost import body, free_port, wait_for, write

FEW, MANY = 200, 1200
#: Requests on their way at a time, each on a connection of its own.
AT_ONCE = int(os.environ.get("AT_ONCE", "8"))
#: What a request should cost, and what it may cost beside what is recorded.
AIM, GROWTH = 60_000, 1.02
RECORD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "instructions.txt")
BODY = b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":9}}'
ANSWER = b"HTTP/1.1 200 OK\r\nserver: b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


def message(stream):
    """Reads one message, in as many pieces as it comes; empty at the end of the connection."""
    read = b""
    while b"\r\n\r\n" not in read:
        piece = stream.recv(65536)
        if not piece:
            return b""
        read += piece
    head, _, rest = read.partition(b"\r\n\r\n")
    length = int(LENGTH.search(head)[1])
    while len(rest) < length:
        rest += stream.recv(65536)
    return head + b"\r\n\r\n" + rest


def answer(stream):
    with stream:
        while message(stream):
            stream.sendall(ANSWER)


def backend(listener):
    """Answers at once, each in one piece, as the instant backends of the other measurements do."""
    while True:
        stream, _ = listener.accept()
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=answer, args=(stream,), daemon=True).start()


def instructions(binary, folder, upstream, requests):
    port = free_port()
    snapshot = {"owner": True, "backends": [{
        "name": "b", "url": f"http://127.0.0.1:{upstream}", "kind": "OPENAI", "slots": 4096, "health": "HEALTHY",
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
    asked = body(1000).encode()
    asked = (b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
             b"content-length: %d\r\n\r\n%s" % (len(asked), asked))
    clients = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(AT_ONCE)]
    for client in clients:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for _ in range(requests // AT_ONCE):
        for client in clients:
            client.sendall(asked)
        for client in clients:
            answered = message(client)
            if not answered.startswith(b"HTTP/1.1 200") or not answered.endswith(BODY):
                raise SystemExit(answered.decode())
    for client in clients:
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
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=backend, args=(listener,), daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        few, many = (instructions(sys.argv[1], folder, listener.getsockname()[1], count) for count in (FEW, MANY))
    each = round((many - few) / (MANY - FEW))
    with open(RECORD, encoding="ascii") as file:
        recorded = int(file.read())
    print(f"{each} user instructions a request of 1 KB, {recorded} recorded, the aim is {AIM}")
    if "--gate" in sys.argv and each > recorded * GROWTH:
        raise SystemExit(f"a request costs {each / recorded:.3f} times what {os.path.relpath(RECORD)} says: make it cheaper")


if __name__ == "__main__":
    main()
