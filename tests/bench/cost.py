"""CPU time per request of the data plane beside nginx and HAProxy, in one run: python3 tests/bench/cost.py LLMB_DATA.

Every proxy runs on one core, the load and an instant backend (nginx) on another; rounds are interleaved, the least of
them counts. Needs nginx, haproxy and wrk (Debian packages), and two cores. Ends by itself; talks to loopback only.
"""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

import stream

SIZES = {"1 KB": (1_000, 64), "32 KB": (32_000, 32), "600 KB": (600_000, 8)}
ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS = os.environ.get("SECONDS_EACH", "2")
WORDS = "the quick brown fox\\n said \\\"hello\\\" to a lazy dog and went on its way over the hills "


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def body(size):
    """A chat request of about `size` bytes, with an escape every few words as prompts have them."""
    text = (WORDS * (size // len(WORDS) + 1))[: max(size - 120, 10)].rstrip("\\")
    return '{"model":"m","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"%s"}]}' % text


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def wait_for(port):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
    raise SystemExit(f"nothing listens on {port}")


def start(core, *command):
    return subprocess.Popen(["taskset", "-c", str(core), *command], stdout=subprocess.DEVNULL,
                            stderr=None if os.environ.get("SHOW") else subprocess.DEVNULL)


def nginx(folder, name, port, location, extra=""):
    text = f"""daemon off; worker_processes 1; pid {folder}/{name}.pid; error_log /dev/null;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 100000000; client_max_body_size 64m; client_body_temp_path {folder}/{name}-body;
proxy_temp_path {folder}/{name}-proxy; {extra}
server {{ listen 127.0.0.1:{port}; location / {{ {location} }} }} }}"""
    return ["nginx", "-p", folder, "-c", write(f"{folder}/{name}.conf", text)]


def proxies(folder, backend, binary):
    """Name to (port, command)."""
    ports = {name: free_port() for name in ("nginx", "haproxy", "llmb-data")}
    upstream = f"upstream up {{ server 127.0.0.1:{backend}; keepalive 256; keepalive_requests 100000000; }}"
    location = ('proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; '
                'proxy_buffering off; proxy_request_buffering off; proxy_set_header Authorization "Bearer x";')
    haproxy = f"""defaults
 mode http
 timeout connect 5s
 timeout client 60s
 timeout server 60s
 option http-no-delay
 http-reuse always
global
 nbthread 1
 maxconn 4096
frontend f
 bind 127.0.0.1:{ports['haproxy']}
 default_backend b
backend b
 http-request set-header Authorization "Bearer x"
 server s 127.0.0.1:{backend}
"""
    snapshot = {"owner": True, "backends": [{
        "name": "b", "url": f"http://127.0.0.1:{backend}", "kind": "OPENAI", "slots": 4096, "health": "HEALTHY",
        "dialects": ["OPENAI_CHAT"], "models": [{"name": "m"}]}]}
    return {
        "nginx": (ports["nginx"], nginx(folder, "proxy", ports["nginx"], location, upstream)),
        "haproxy": (ports["haproxy"], ["haproxy", "-db", "-f", write(f"{folder}/haproxy.cfg", haproxy)]),
        "llmb-data": (ports["llmb-data"], [
            binary, "--threads", "1", "--snapshot", write(f"{folder}/snapshot.json", json.dumps(snapshot)),
            "--state-dir", f"{folder}/state", "--listen", f"127.0.0.1:{ports['llmb-data']}",
            "--admin-listen", f"127.0.0.1:{free_port()}"]),
    }


def family(pid):
    """A process and its children: nginx works in one."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [pid, *(int(child) for child in file.read().split())]


def cpu_ns(pid):
    """On-CPU time of all threads of a process and its children."""
    total = 0
    for member in family(pid):
        for task in os.listdir(f"/proc/{member}/task"):
            with open(f"/proc/{member}/task/{task}/schedstat", encoding="ascii") as file:
                total += int(file.read().split()[0])
    return total


@contextlib.contextmanager
def running(core, commands):
    """Name to (port, pid) of commands that run on `core` until the block ends."""
    started = {}
    try:
        for name, (port, command) in commands.items():
            started[name] = (port, start(core, *command))
            wait_for(port)
        yield {name: (port, process.pid) for name, (port, process) in started.items()}
    finally:
        for _, process in started.values():
            process.send_signal(signal.SIGTERM)
        for _, process in started.values():
            process.wait(timeout=60)


def load(name, port, script, connections):
    command = ["taskset", "-c", "0", "wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "-s", script,
               f"http://127.0.0.1:{port}/v1/chat/completions"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    errors = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    if errors:
        raise SystemExit(f"{name}: {errors.group(0)}")
    return int(re.search(r"(\d+) requests in", said).group(1))


def requests_table(folder, binary):
    """CPU time a request, by size of its body."""
    best = {}
    answer = '{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":9}}'
    location = f"default_type application/json; return 200 '{answer}';"
    backend = free_port()
    with running(0, {"backend": (backend, nginx(folder, "backend", backend, location))}), \
            running(1, proxies(folder, backend, binary)) as measured:
        for size, (length, connections) in SIZES.items():
            script = write(f"{folder}/post.lua", 'wrk.method="POST"\nwrk.headers["content-type"]="application/json"\n'
                           f"wrk.body=[==[{body(length)}]==]\n")
            for _ in range(ROUNDS):
                for name, (port, pid) in measured.items():
                    before = cpu_ns(pid)
                    requests = load(name, port, script, connections)
                    each = (cpu_ns(pid) - before) / 1000 / requests
                    best[size, name] = min(best.get((size, name), each), each)
    print("| CPU-µs a request | nginx | HAProxy | llmb-data | ratio to nginx |")
    print("|---|---|---|---|---|")
    for size in SIZES:
        row = {name: best[size, name] for name in measured}
        ratio = row["llmb-data"] / row["nginx"]
        print(f"| {size} | {row['nginx']:.1f} | {row['haproxy']:.1f} | {row['llmb-data']:.1f} | {ratio:.2f} |")


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.makedirs(f"{folder}/logs", exist_ok=True)
        requests_table(folder, sys.argv[1])
        backend = free_port()
        os.sched_setaffinity(0, {0})
        with running(1, proxies(folder, backend, sys.argv[1])) as measured:
            stream.table(measured, ROUNDS, backend, cpu_ns)


if __name__ == "__main__":
    main()
