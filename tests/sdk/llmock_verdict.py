"""Asks llmock, a server that fails on purpose and judges its clients, what it thinks of the product in front of it.

llmock stands alone behind the product, so that nothing is hidden by another backend. An application with the official
SDKs asks through the product, and asks again where an SDK raises, after what `retry-after` says or a growing pause. A
failure that the product hid from the SDK, told in a clean end, or retried by itself too early, is in the verdict.
"""

import argparse
import json
import sys
import time
import urllib.request

import anthropic
import openai
from google import genai
from google.genai import types

TRIES_MAX = 4
PAUSE_S = 0.3
STALL_S = 4
TIMEOUT_S = 60

parser = argparse.ArgumentParser(description="Asks llmock for its verdict on what is in front of it.")
parser.add_argument("--base", required=True, help="the product, http://host:port without /v1")
parser.add_argument("--llmock", required=True, help="llmock, http://host:port")
for family in ("openai", "anthropic", "gemini"):
    parser.add_argument(f"--{family}-model", required=True)
args = parser.parse_args()
oai = openai.OpenAI(base_url=args.base + "/v1", api_key="unused", timeout=TIMEOUT_S)
claude = anthropic.Anthropic(base_url=args.base, api_key="unused", timeout=TIMEOUT_S)
gemini = genai.Client(api_key="unused", vertexai=False, http_options=types.HttpOptions(
    base_url=args.base, timeout=TIMEOUT_S * 1000))


class Told(Exception):
    """The stream said itself that it failed."""


def chat(words, stream):
    answer = oai.chat.completions.create(
        model=args.openai_model, messages=[{"role": "user", "content": words}], stream=stream)
    if not stream:
        return answer.choices[0].message.content
    return "".join(chunk.choices[0].delta.content or "" for chunk in answer if chunk.choices)


def responses(words, stream):
    answer = oai.responses.create(model=args.openai_model, input=words, stream=stream)
    if not stream:
        return answer.output_text
    text = ""
    for event in answer:
        if event.type in ("response.failed", "error"):
            raise Told(event)
        text += event.delta if event.type == "response.output_text.delta" else ""
    return text


def messages(words, stream):
    ask = {"model": args.anthropic_model, "max_tokens": 200, "messages": [{"role": "user", "content": words}]}
    if not stream:
        return claude.messages.create(**ask).content[0].text
    with claude.messages.stream(**ask) as events:
        return "".join(events.text_stream)


def generate(words, stream):
    if not stream:
        return gemini.models.generate_content(model=args.gemini_model, contents=words).text
    chunks = gemini.models.generate_content_stream(model=args.gemini_model, contents=words)
    return "".join(chunk.text or "" for chunk in chunks)


CALLS = {"/v1/chat/completions": chat, "/v1/responses": responses, "/anthropic/v1/messages": messages,
         "/gemini/*:*": generate}
FAILS = [{"type": "fail", "status": status} for status in (500, 502, 503, 529)] + [
    {"type": "fail", "status": 429, "retry_after": 2},
    {"type": "delay", "seconds": 0.5},
]
BREAKS = [{"type": "stream_fault", "kind": kind, "after_chunks": after}
          for kind in ("disconnect", "truncate", "malformed") for after in (0, 2)] + [
    {"type": "slow_first_token", "seconds": 0.5},
]
# Chunks until there is content: before it a stall is a slow start, and another deadline's.
STALL_AFTER = {"/v1/responses": 6, "/anthropic/v1/messages": 5}


def admin(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(args.llmock + "/_llmock/" + path, data=data, method=method)
    with urllib.request.urlopen(asked, timeout=TIMEOUT_S) as answer:
        return json.load(answer)


def retry_after(fault):
    """What the answer says; 0 where it says nothing."""
    headers = getattr(getattr(fault, "response", None), "headers", None) or {}
    return float(headers.get("retry-after", 0))


def insist(call, words, stream):
    """An answer, and how often the SDK raised before it."""
    for tried in range(TRIES_MAX):
        try:
            return call(words, stream), tried
        except Exception as fault:
            if tried + 1 == TRIES_MAX:
                raise
            time.sleep(max(retry_after(fault) * 1.1, PAUSE_S * 2 ** tried))


def run():
    """One call for each fault, and two without any around it: who always fails rests."""
    wrong, raised = [], 0
    for path, call in CALLS.items():
        stall = {"type": "stream_fault", "kind": "stall", "after_chunks": STALL_AFTER.get(path, 3),
                 "stall_seconds": STALL_S}
        for fault in [*FAILS, *BREAKS, stall]:
            for stream in (False, True) if fault in FAILS else (True,):
                name = f"{fault}, {path}, {'stream' if stream else 'whole'}"
                clean, _ = insist(call, f"{name}, before", stream)
                admin("POST", "scenario", {"behaviors": [dict(fault, times=1, match={"path": path})]})
                answer, tried = insist(call, name, stream)
                raised += tried
                if admin("GET", "scenario")["pending"]:
                    wrong.append(f"{name}: it was not met")
                if not clean or not answer:
                    wrong.append(f"{name}: the answer is empty")
                insist(call, f"{name}, after", stream)
    return wrong, raised


# What the control plane asks to find out what llmock is has no part in this: llmock holds one list that is asked for
# with two logins to be one that is asked for again.
admin("POST", "reset")
wrong, raised = run()
verdict = admin("GET", "verdict")
print(*wrong, sep="\n" if wrong else "")
print(json.dumps(verdict, indent=1))
print(f"llmock: {verdict['faults_injected']} faults, {raised} raised, {len(verdict['findings'])} findings")
sys.exit(1 if wrong or verdict["findings"] or not verdict["faults_injected"] else 0)
