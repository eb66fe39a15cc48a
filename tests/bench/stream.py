"""Streams of events through a proxy: CPU time a chunk, and what a chunk is delayed. Used by cost.py.

One process is backend and client of all streams, so that one clock tells when a chunk left and when it came. Every
figure stands beside the same streams without a proxy, whose delay is that of the measuring process itself.
"""

import asyncio
import os
import re
import statistics
import time

STREAMS = 200
#: Chunks a second over all streams, and the seconds that are counted.
RATE, SECONDS = 2000, 4
#: Streams that are written to at once.
AT_ONCE = 10
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
SENT = re.compile(rb'"sent":(\d+)')
BODY = b'{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hi"}]}'
ASKED = (b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
         b"content-length: %d\r\n\r\n%s" % (len(BODY), BODY))


def chunk():
    event = b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,' \
            b'"delta":{"content":" token"},"finish_reason":null}],"sent":%d}\n\n' % time.monotonic_ns()
    return b"%x\r\n%s\r\n" % (len(event), event)


class Backend(asyncio.Protocol):
    """Answers each request with a stream that `open` holds."""

    def __init__(self, open_streams):
        self.open, self.read = open_streams, b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.read += data
        if self.read.endswith(BODY):
            self.read = b""
            self.transport.write(HEAD + chunk())
            self.open.append(self.transport)

    def connection_lost(self, _):
        if self.transport in self.open:
            self.open.remove(self.transport)


class Client(asyncio.Protocol):
    """One stream; notes how long each chunk was on its way."""

    def __init__(self, delays):
        self.delays = delays

    def connection_made(self, transport):
        transport.write(ASKED)

    def data_received(self, data):
        now = time.monotonic_ns()
        self.delays.extend(now - int(sent) for sent in SENT.findall(data))


async def through(name, port, open_streams, cpu_ns):
    """(CPU-ns of the proxy a chunk, the median delay in ns) of streams by way of `port`."""
    loop = asyncio.get_running_loop()
    delays, transports = [], []
    for _ in range(STREAMS):
        transport, _ = await loop.create_connection(lambda: Client(delays), "127.0.0.1", port)
        transports.append(transport)
    deadline = loop.time() + 20
    while len(delays) < STREAMS:
        if loop.time() > deadline:
            raise SystemExit(f"{name}: {len(delays)} of {STREAMS} streams began")
        await asyncio.sleep(0.01)
    delays.clear()
    before, sent, began = cpu_ns(), 0, loop.time()
    while sent < RATE * SECONDS:
        for transport in (open_streams[(sent + each) % STREAMS] for each in range(AT_ONCE)):
            transport.write(chunk())
        sent += AT_ONCE
        await asyncio.sleep(max(0, began + sent / RATE - loop.time()))
    while len(delays) < sent:
        if loop.time() > deadline + SECONDS + 20:
            raise SystemExit(f"{name}: {len(delays)} of {sent} chunks came")
        await asyncio.sleep(0.01)
    spent = cpu_ns() - before
    for transport in transports:
        transport.abort()
    ends = loop.time() + 10
    while open_streams:
        if loop.time() > ends:
            if name == "llmb-data":
                raise SystemExit(f"{len(open_streams)} streams of clients that left are still read")
            # HAProxy sees that a client left when it next writes to it.
            for transport in open_streams:
                transport.abort()
        await asyncio.sleep(0.01)
    return spent / sent, statistics.median(delays)


def table(proxies, rounds, backend_port, cpu_ns):
    """Measures `proxies` (name to port and pid) in turn and prints the least of each."""

    async def measure():
        open_streams = []
        server = await asyncio.get_running_loop().create_server(
            lambda: Backend(open_streams), "127.0.0.1", backend_port, backlog=STREAMS)
        best = {}
        async with server:
            for _ in range(rounds):
                for name, (port, pid) in {"direct": (backend_port, os.getpid()), **proxies}.items():
                    spent, delay = await through(name, port, open_streams, lambda: cpu_ns(pid))
                    has = best.get(name, (spent, delay))
                    best[name] = (min(has[0], spent), min(has[1], delay))
        return best

    best = asyncio.run(measure())
    direct = best["direct"][1]
    print(f"\n| {STREAMS} streams, {RATE} chunks a second | " + " | ".join(proxies) + " | llmb-data to nginx |")
    print("|---|" + "---|" * (len(proxies) + 1))
    ratio = best["llmb-data"][0] / best["nginx"][0]
    print("| CPU-µs a chunk | " + " | ".join(f"{best[name][0] / 1e3:.1f}" for name in proxies) + f" | {ratio:.2f} |")
    added = {name: (best[name][1] - direct) / 1e6 for name in proxies}
    more = added["llmb-data"] - added["nginx"]
    print("| added delay a chunk, p50, ms | " + " | ".join(f"{added[name]:.3f}" for name in proxies) + f" | {more:+.3f} |")
