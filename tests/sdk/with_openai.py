"""The official openai SDK for Python against one base URL."""

import asyncio
import json

import openai

from check import CITY_SCHEMA, STORY, TOOL_ASK, UNKNOWN_MODEL, Checks, expect, expect_city

check = Checks("openai-py")
base, model = check.args.base + "/v1", check.args.model
client = openai.OpenAI(base_url=base, api_key="unused", max_retries=0, timeout=60)
HELLO = [{"role": "user", "content": "Say hello — grüß dich, 你好 🙂"}]
TOOLS = [{"type": "function", "function": {
    "name": "weather", "description": "The weather in a city.", "parameters": CITY_SCHEMA}}]
ASK = {"model": model, "messages": [{"role": "user", "content": TOOL_ASK}], "tools": TOOLS,
       "tool_choice": "required", "parallel_tool_calls": False, "max_tokens": 200}


@check("chat")
def chat():
    answer = client.chat.completions.create(model=model, messages=HELLO, max_tokens=32)
    expect(answer.object == "chat.completion", f"object is {answer.object!r}")
    expect(answer.choices[0].message.content, "the answer has no text")
    expect(answer.choices[0].finish_reason in ("stop", "length"), f"finish is {answer.choices[0].finish_reason!r}")
    expect(answer.usage.prompt_tokens > 0 and answer.usage.completion_tokens > 0, f"usage is {answer.usage}")


@check("chat stream")
def chat_stream():
    chunks = list(client.chat.completions.create(model=model, messages=HELLO, max_tokens=32, stream=True))
    texts = [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content]
    expect(len(texts) >= 2 and "".join(texts).strip(), f"the chunks of text are {texts}")
    finishes = [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason]
    expect(finishes in (["stop"], ["length"]), f"the finish reasons are {finishes}")
    expect(not any(c.usage for c in chunks), "usage came though it was not asked for")


@check("chat stream usage")
def chat_stream_usage():
    chunks = list(client.chat.completions.create(
        model=model, messages=HELLO, max_tokens=32, stream=True, stream_options={"include_usage": True}))
    usages = [c.usage for c in chunks if c.usage]
    expect(len(usages) == 1 and chunks[-1].usage, f"{len(usages)} chunks carry usage, the last: {chunks[-1]}")
    expect(usages[0].prompt_tokens > 0 and usages[0].completion_tokens > 0, f"usage is {usages[0]}")


@check("tools")
def tools():
    answer = client.chat.completions.create(**ASK)
    calls = answer.choices[0].message.tool_calls
    expect(calls and calls[0].id and calls[0].function.name == "weather", f"the message is {answer.choices[0].message}")
    expect(answer.choices[0].finish_reason == "tool_calls", f"finish is {answer.choices[0].finish_reason!r}")
    expect_city(json.loads(calls[0].function.arguments))


@check("tools stream")
def tools_stream():
    chunks = list(client.chat.completions.create(**ASK, stream=True))
    deltas = [d for c in chunks if c.choices for d in c.choices[0].delta.tool_calls or []]
    expect([d.function.name for d in deltas if d.function.name] == ["weather"], f"the deltas are {deltas}")
    expect(len([d for d in deltas if d.id]) == 1, f"the id does not come exactly once: {deltas}")
    expect_city(json.loads("".join(d.function.arguments or "" for d in deltas)))


@check("tool result")
def tool_result():
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Paris"}'}}
    turns = ASK["messages"] + [{"role": "assistant", "content": None, "tool_calls": [call]},
                               {"role": "tool", "tool_call_id": "call_1", "content": "Sunny, 21 degrees."}]
    answer = client.chat.completions.create(model=model, messages=turns, max_tokens=64)
    expect(answer.choices[0].message.content, f"the message is {answer.choices[0].message}")


@check("responses")
def responses():
    answer = client.responses.create(model=model, input="Say hello.", max_output_tokens=32)
    expect(answer.output_text, f"the output is {answer.output}")
    expect(answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0, f"usage is {answer.usage}")


@check("responses stream")
def responses_stream():
    events = list(client.responses.create(model=model, input="Say hello.", max_output_tokens=32, stream=True))
    texts = [e.delta for e in events if e.type == "response.output_text.delta"]
    expect(len(texts) >= 2 and "".join(texts).strip(), f"the chunks of text are {texts}")
    expect(events[-1].type in ("response.completed", "response.incomplete"), f"the last event is {events[-1].type}")


@check("responses helper")
def responses_helper():
    with client.responses.stream(model=model, input="Say hello.") as stream:
        for _ in stream:
            pass
        answer = stream.get_final_response()
    expect(answer.output_text, f"the output is {answer.output}")


@check("completions")
def completions():
    answer = client.completions.create(model=model, prompt="Once upon a time", max_tokens=16)
    expect(answer.object == "text_completion" and answer.choices[0].text, f"the answer is {answer}")


@check("completions stream")
def completions_stream():
    chunks = list(client.completions.create(model=model, prompt="Once upon a time", max_tokens=16, stream=True))
    texts = [c.choices[0].text for c in chunks if c.choices and c.choices[0].text]
    expect(len(texts) >= 2, f"the chunks of text are {texts}")


@check("embeddings")
def embeddings():
    answer = client.embeddings.create(model=check.embed_model(), input=["a lighthouse", "the sea"])
    sizes = [len(item.embedding) for item in answer.data]
    expect(len(sizes) == 2 and sizes[0] == sizes[1] > 1, f"the vectors' sizes are {sizes}")
    expect(all(isinstance(x, float) for item in answer.data for x in item.embedding), "the vectors are not floats")
    expect(answer.data[0].embedding != answer.data[1].embedding, "two texts have one vector")


@check("models")
def models():
    names = [m.id for m in client.models.list()]
    expect(model in names, f"the models are {names}")


@check("model")
def one_model():
    expect(client.models.retrieve(model).id == model, "retrieve gives another model")


@check("unknown model")
def unknown_model():
    for stream in (False, True):
        try:
            client.chat.completions.create(model=UNKNOWN_MODEL, messages=HELLO, stream=stream)
            expect(False, "an unknown model was answered")
        except openai.NotFoundError as fault:
            expect(UNKNOWN_MODEL in fault.message, f"the message does not name the model: {fault.message}")


@check("leave")
def leave():
    def open_stream():
        stream = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": STORY}], max_tokens=2000, stream=True)
        for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                return stream
        return stream
    check.expect_leaving_frees(open_stream, lambda stream: stream.close())


@check("parallel")
def parallel():
    async def one(fast):
        stream = await fast.chat.completions.create(model=model, messages=HELLO, max_tokens=16, stream=True)
        return "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])

    async def four():
        async with openai.AsyncOpenAI(base_url=base, api_key="unused", max_retries=0, timeout=60) as fast:
            return await asyncio.gather(*(one(fast) for _ in range(4)))

    texts = asyncio.run(four())
    expect(all(texts), f"the texts are {texts}")


check.run()
