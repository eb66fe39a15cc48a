"""Runs the named checks of one SDK against one base URL and says how each went, a line each.

A check that does not apply is named with its reason (`--lacks NAME=REASON`) and printed as skipped, never left out.
"""

import argparse
import json
import signal
import sys
import time
import urllib.request

CHECK_DEADLINE_S = 120
FREE_DEADLINE_S = 1.0
POLL_PAUSE_S = 0.01
# Which models are loaded is looked at by probes, every 5 s by default.
PROBED_DEADLINE_S = 15.0
UNKNOWN_MODEL = "no-such-model"

STORY = "Write a very long story about a lighthouse, in as much detail as you can."
TOOL_ASK = "What is the weather in Paris? Use the tool."
CITY_SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Paris", "London"]}},
    "required": ["city"],
}


class Failed(Exception):
    """What a check expected and did not find."""


class Skipped(Exception):
    """Why a check cannot run here."""


def expect(condition, otherwise):
    if not condition:
        raise Failed(otherwise)


def expect_soon(condition, otherwise):
    """Expects what the next probe brings to light, within PROBED_DEADLINE_S."""
    deadline = time.monotonic() + PROBED_DEADLINE_S
    while not condition():
        expect(time.monotonic() < deadline, otherwise())
        time.sleep(POLL_PAUSE_S)


def expect_city(arguments):
    expect(arguments.get("city") in ("Paris", "London"), f"the tool call's arguments are {arguments!r}")


class Checks:
    """The checks of one SDK, in the order in which they were declared."""

    def __init__(self, sdk):
        parser = argparse.ArgumentParser(description=f"Checks {sdk} against a server.")
        parser.add_argument("--base", required=True, help="http://host:port, without /v1")
        parser.add_argument("--model", required=True)
        parser.add_argument("--embed-model", help="absent: no embeddings here")
        parser.add_argument("--idle", action="append", default=[], metavar="URL",
                            help="llama.cpp's /slots or llmsim's statistics of each server behind")
        parser.add_argument("--lacks", action="append", default=[], metavar="NAME=REASON")
        self.args = parser.parse_args()
        self.args.base = self.args.base.rstrip("/")
        self.sdk = sdk
        self.checks = []

    def __call__(self, name):
        def declare(function):
            self.checks.append((name, function))
            return function
        return declare

    def embed_model(self):
        if not self.args.embed_model:
            raise Skipped("no --embed-model given")
        return self.args.embed_model

    def expect_leaving_frees(self, open_stream, leave):
        """Opens a long stream, sees the server busy, leaves, and sees it free within FREE_DEADLINE_S."""
        if not self.args.idle:
            raise Skipped("no --idle URL given")
        stream = open_stream()
        expect(any(busy(url) for url in self.args.idle), "the server is not busy while the stream is open")
        leave(stream)
        left = time.monotonic()
        while any(busy(url) for url in self.args.idle):
            waited = time.monotonic() - left
            expect(waited < FREE_DEADLINE_S, f"the server is still busy {waited:.2f} s after the client left")
            time.sleep(POLL_PAUSE_S)

    def run(self):
        lacks = dict(entry.split("=", 1) for entry in self.args.lacks)
        strangers = lacks.keys() - {name for name, _ in self.checks}
        if strangers:
            sys.exit(f"{self.sdk} has no check named {', '.join(sorted(strangers))}")
        counts = {"ok": 0, "skip": 0, "FAIL": 0}
        for name, function in self.checks:
            verdict, reason = ("skip", lacks[name]) if name in lacks else judge(function)
            counts[verdict] += 1
            print(f"{verdict} {self.sdk} {name}" + (f": {reason}" if reason else ""), flush=True)
        print(f"{self.sdk}: {counts['ok']} ok, {counts['skip']} skipped, {counts['FAIL']} failed")
        sys.exit(1 if counts["FAIL"] or not counts["ok"] else 0)


def judge(function):
    def late(_signal, _frame):
        raise Failed(f"not done after {CHECK_DEADLINE_S} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(CHECK_DEADLINE_S)
    try:
        function()
        return "ok", ""
    except Skipped as why:
        return "skip", str(why)
    except Exception as fault:
        return "FAIL", f"{type(fault).__name__}: {fault}"
    finally:
        signal.alarm(0)


def busy(url):
    """Whether a server works on something: llama.cpp's list of slots, or llmsim's statistics."""
    with urllib.request.urlopen(url, timeout=5) as answer:
        state = json.load(answer)
    if isinstance(state, list):
        return any(slot["is_processing"] for slot in state)
    return state["running"] > 0
