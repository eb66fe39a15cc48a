"""The official SDKs for Python in front of servers that fail: what each cell of a table says must come of it.

A cell is a request with what it must come to: `whole`, or a status with words, or an error of another kind. A failure
that is returned as an answer, and an answer that is not whole, fail the run.
"""

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor

import anthropic
import ollama
import openai
from google import genai
from google.genai import types

TIMEOUT_S = 60
AT_ONCE = 16
HELLO = [{"role": "user", "content": "hi"}]

parser = argparse.ArgumentParser(description="Checks the SDKs for Python in front of servers that fail.")
parser.add_argument("--cells", required=True, metavar="FILE", help="the cells, as JSON")
parser.add_argument("--retries", action="store_true", help="leave the SDKs the retries that they have")
args = parser.parse_args()
retries = {} if args.retries else {"max_retries": 0}
clients = {}


class Told(Exception):
    """The stream said itself that it failed."""


def client(family, base):
    if (family, base) not in clients:
        clients[family, base] = {
            "openai": lambda: openai.OpenAI(base_url=base + "/v1", api_key="unused", timeout=TIMEOUT_S, **retries),
            "anthropic": lambda: anthropic.Anthropic(base_url=base, api_key="unused", timeout=TIMEOUT_S, **retries),
            "gemini": lambda: genai.Client(api_key="unused", vertexai=False, http_options=types.HttpOptions(
                base_url=base, timeout=TIMEOUT_S * 1000)),
            "ollama": lambda: ollama.Client(host=base, timeout=TIMEOUT_S),
        }[family]()
    return clients[family, base]


def chat(api, model, most, stream):
    answer = api.chat.completions.create(model=model, messages=HELLO, max_tokens=most, stream=stream)
    if not stream:
        return answer.choices[0].message.content
    chunks = [chunk.choices[0] for chunk in answer if chunk.choices]
    return "".join(chunk.delta.content or "" for chunk in chunks)


def completions(api, model, most, stream):
    answer = api.completions.create(model=model, prompt="hi", max_tokens=most, stream=stream)
    return "".join(chunk.choices[0].text for chunk in (answer if stream else [answer]) if chunk.choices)


def responses(api, model, most, stream):
    answer = api.responses.create(model=model, input="hi", max_output_tokens=most, stream=stream)
    if not stream:
        return answer.output_text
    text = ""
    for event in answer:
        if event.type in ("response.failed", "error"):
            raise Told(event)
        if event.type == "response.output_text.delta":
            text += event.delta
    return text


def responses_helper(api, model, most):
    with api.responses.stream(model=model, input="hi", max_output_tokens=most) as stream:
        for event in stream:
            if event.type in ("response.failed", "error"):
                raise Told(event)
        return stream.get_final_response().output_text


def messages(api, model, most, stream):
    if not stream:
        return api.messages.create(model=model, messages=HELLO, max_tokens=most).content[0].text
    with api.messages.stream(model=model, messages=HELLO, max_tokens=most) as events:
        return "".join(events.text_stream)


def messages_raw(api, model, most):
    events = api.messages.create(model=model, messages=HELLO, max_tokens=most, stream=True)
    return "".join(event.delta.text for event in events if event.type == "content_block_delta")


def generate_content(api, model, most, stream):
    ask = {"model": model, "contents": "hi", "config": types.GenerateContentConfig(max_output_tokens=most)}
    if not stream:
        return api.models.generate_content(**ask).text
    return "".join(chunk.text or "" for chunk in api.models.generate_content_stream(**ask))


def ollama_chat(api, model, most, stream):
    answer = api.chat(model=model, messages=HELLO, options={"num_predict": most}, stream=stream)
    return "".join(part.message.content or "" for part in (answer if stream else [answer]))


def ollama_generate(api, model, most, stream):
    answer = api.generate(model=model, prompt="hi", options={"num_predict": most}, stream=stream)
    return "".join(part.response for part in (answer if stream else [answer]))


TEXTS = {
    ("openai", "chat"): chat,
    ("openai", "completions"): completions,
    ("openai", "responses"): responses,
    ("anthropic", "messages"): messages,
    ("gemini", "generateContent"): generate_content,
    ("gemini", "events"): generate_content,
    ("ollama", "chat"): ollama_chat,
    ("ollama", "generate"): ollama_generate,
}
# Other calls of an SDK that give the same stream.
STREAMS = {("openai", "responses"): responses_helper, ("anthropic", "messages"): messages_raw}
VECTORS = {
    ("openai", "embeddings"): lambda api, model: api.embeddings.create(model=model, input="hi").data[0].embedding,
    ("gemini", "embedContent"): lambda api, model: api.models.embed_content(
        model=model, contents="hi").embeddings[0].values,
    ("ollama", "embed"): lambda api, model: api.embed(model=model, input="hi").embeddings[0],
}


def calls(cell):
    """The calls of an SDK that make the request of a cell; each gives whether its answer is whole."""
    key, api, model = (cell["family"], cell["way"]), client(cell["family"], cell["base"]), cell["model"]
    if key in VECTORS:
        return [lambda: len(VECTORS[key](api, model)) > 1]
    whole = lambda text: len(text.split()) >= cell["tokens"]
    found = [lambda: whole(TEXTS[key](api, model, cell["max"], cell["stream"]))]
    # A second failure of a backend would not be the first that its breaker sees.
    if cell["stream"] and key in STREAMS and not args.retries:
        found.append(lambda: whole(STREAMS[key](api, model, cell["max"])))
    return found


def status_of(fault):
    return getattr(fault, "status_code", None) or getattr(fault, "code", None)


def judge(cell, call, first):
    """What is wrong; nothing when it comes to what it must. Behind the first call the breaker may have opened."""
    told = cell["told"]
    try:
        whole = call()
    except Exception as fault:
        if told == "whole":
            return f"raises {type(fault).__name__}: {fault}"
        status = told.split()[0]
        if first and status.isdigit() and str(status_of(fault)) != status:
            return f"raises {type(fault).__name__} with status {status_of(fault)}, not {status}: {fault}"
        return None
    if told == "whole":
        return None if whole else "returns an answer that is not whole"
    return f"returns {'a whole' if whole else 'a truncated'} answer where the server fails"


def run(cell):
    wrong = [judge(cell, call, place == 0) for place, call in enumerate(calls(cell))]
    name = f"{cell['family']} {cell['way']}, {'stream' if cell['stream'] else 'whole'}"
    where = "with another backend" if cell["another"] else "alone"
    return len(wrong), [f"FAIL {cell['fault']}: {name}, {where} ({cell['told']}): {what}" for what in wrong if what]


with open(args.cells) as file:
    cells = json.load(file)
with ThreadPoolExecutor(AT_ONCE) as pool:
    done = list(pool.map(run, cells))
failed = [line for _, lines in done for line in lines]
print(*failed, sep="\n" if failed else "")
print(f"SDKs for Python: {sum(count for count, _ in done)} calls, {len(failed)} failed")
sys.exit(1 if failed or not cells else 0)
