"""Resident memory of the data plane, idle and for each open stream: python3 tests/bench/memory.py LLMB_DATA.

The difference between before and with the streams, after a warm-up, so that what requests leave behind cancels out.
With --gate, more than the bounds is a failure. Ends by itself; talks to loopback only.
"""

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile

from cost import free_port, wait_for, write
from stream import Backend, Client, chunk

STREAMS = 2000
#: Opened at a time: more than a listener keeps waiting would be refused.
AT_ONCE = 100
#: Streams of the warm-up, opened and left again.
WARM = 200
#: Chunks that each stream has seen when it is weighed.
CHUNKS = 4
#: Bytes for each open stream, and of the idle process, at most.
STREAM_BYTES_MAX, IDLE_BYTES_MAX = 32 * 1024, 20 * 1024 * 1024
#: Seconds for anything to happen.
PATIENCE = 60


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS:"))


async def until(what, done):
    end = asyncio.get_running_loop().time() + PATIENCE
    while not done():
        if asyncio.get_running_loop().time() > end:
            raise SystemExit(f"{what}: not in {PATIENCE} s")
        await asyncio.sleep(0.01)


async def opened(count, port, open_streams, seen):
    """So many streams through the proxy, each with all its chunks read."""
    loop = asyncio.get_running_loop()
    clients = []
    while len(clients) < count:
        more = min(AT_ONCE, count - len(clients))
        connections = (loop.create_connection(lambda: Client(seen), "127.0.0.1", port) for _ in range(more))
        clients += [transport for transport, _ in await asyncio.gather(*connections)]
        await until(f"{len(clients)} streams", lambda: len(open_streams) == len(clients))
    for number in range(2, CHUNKS + 1):
        for transport in open_streams:
            transport.write(chunk())
        await until(f"chunk {number}", lambda: len(seen) >= number * count)
    return clients


async def weigh(pid, port, backend_port):
    """(bytes when idle, bytes for each stream)."""
    open_streams, seen = [], []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Backend(open_streams), "127.0.0.1", backend_port, backlog=STREAMS)
    async with server:
        for client in await opened(WARM, port, open_streams, seen):
            client.abort()
        await until("the end of the warm-up", lambda: not open_streams)
        seen.clear()
        idle = resident(pid)
        clients = await opened(STREAMS, port, open_streams, seen)
        each = (resident(pid) - idle) / STREAMS
        for client in clients:
            client.abort()
        await until("the end of the streams", lambda: not open_streams)
    return idle, each


def main():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    binary = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        backend, port = free_port(), free_port()
        snapshot = {"owner": True, "backends": [{
            "name": "b", "url": f"http://127.0.0.1:{backend}", "kind": "OPENAI", "slots": 4096, "health": "HEALTHY",
            "dialects": ["OPENAI_CHAT"], "models": [{"name": "m"}]}]}
        process = subprocess.Popen(
            [binary, "--snapshot", write(f"{folder}/snapshot.json", json.dumps(snapshot)), "--threads", "2",
             "--state-dir", f"{folder}/state", "--listen", f"127.0.0.1:{port}",
             "--admin-listen", f"127.0.0.1:{free_port()}"],
            stderr=None if os.environ.get("SHOW") else subprocess.DEVNULL)
        try:
            wait_for(port)
            idle, each = asyncio.run(weigh(process.pid, port, backend))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)
    print(f"{each / 1024:.1f} KiB for each of {STREAMS} open streams (at most {STREAM_BYTES_MAX // 1024}), "
          f"{idle / 1024 / 1024:.1f} MiB when idle (at most {IDLE_BYTES_MAX // 1024 // 1024})")
    if "--gate" in sys.argv and (each > STREAM_BYTES_MAX or idle > IDLE_BYTES_MAX):
        raise SystemExit("more than it may have")


if __name__ == "__main__":
    main()
