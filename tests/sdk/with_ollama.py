"""The official ollama SDK for Python against one base URL."""

import asyncio

import ollama

from check import CITY_SCHEMA, STORY, TOOL_ASK, UNKNOWN_MODEL, Checks, expect, expect_city, expect_soon

check = Checks("ollama-py")
base, model = check.args.base, check.args.model
client = ollama.Client(host=base, timeout=60)
HELLO = [{"role": "user", "content": "Say hello — grüß dich, 你好 🙂"}]
SHORT = {"num_predict": 32}
ASK = [{"role": "user", "content": TOOL_ASK}]
TOOLS = [{"type": "function", "function": {
    "name": "weather", "description": "The weather in a city.", "parameters": CITY_SCHEMA}}]


@check("chat")
def chat():
    answer = client.chat(model=model, messages=HELLO, options=SHORT)
    expect(answer.message.content and answer.done, f"the answer is {answer}")
    expect(answer.done_reason in ("stop", "length"), f"done reason is {answer.done_reason!r}")
    expect(answer.prompt_eval_count > 0 and answer.eval_count > 0, f"the counts are in {answer}")
    expect(answer.total_duration >= answer.eval_duration > 0, f"the durations are in {answer}")


@check("chat stream")
def chat_stream():
    chunks = list(client.chat(model=model, messages=HELLO, options=SHORT, stream=True))
    texts = [chunk.message.content for chunk in chunks if chunk.message.content]
    expect(len(texts) >= 2 and "".join(texts).strip(), f"the chunks of text are {texts}")
    expect([chunk.done for chunk in chunks].index(True) == len(chunks) - 1, "the last chunk alone is not the done one")
    expect(chunks[-1].eval_count > 0, f"the last chunk is {chunks[-1]}")


@check("tools")
def tools():
    calls = client.chat(model=model, messages=ASK, tools=TOOLS).message.tool_calls
    expect([call.function.name for call in calls or []] == ["weather"], f"the calls are {calls}")
    expect_city(calls[0].function.arguments)


@check("tools stream")
def tools_stream():
    chunks = client.chat(model=model, messages=ASK, tools=TOOLS, stream=True)
    calls = [call for chunk in chunks for call in chunk.message.tool_calls or []]
    expect([call.function.name for call in calls] == ["weather"], f"the calls are {calls}")
    expect_city(calls[0].function.arguments)


@check("tool result")
def tool_result():
    call = {"function": {"name": "weather", "arguments": {"city": "Paris"}}}
    turns = ASK + [{"role": "assistant", "content": "", "tool_calls": [call]},
                   {"role": "tool", "tool_name": "weather", "content": "Sunny, 21 degrees."}]
    answer = client.chat(model=model, messages=turns, options=SHORT)
    expect(answer.message.content, f"the message is {answer.message}")


@check("generate")
def generate():
    answer = client.generate(model=model, prompt="Once upon a time", options=SHORT)
    expect(answer.response and answer.done, f"the answer is {answer}")


@check("generate stream")
def generate_stream():
    chunks = list(client.generate(model=model, prompt="Once upon a time", options=SHORT, stream=True))
    texts = [chunk.response for chunk in chunks if chunk.response]
    expect(len(texts) >= 2 and chunks[-1].done, f"the chunks of text are {texts}")


@check("embeddings")
def embeddings():
    answer = client.embed(model=check.embed_model(), input=["a lighthouse", "the sea"])
    sizes = [len(vector) for vector in answer.embeddings]
    expect(len(sizes) == 2 and sizes[0] == sizes[1] > 1, f"the vectors' sizes are {sizes}")
    expect(answer.embeddings[0] != answer.embeddings[1], "two texts have one vector")


@check("models")
def models():
    names = [m.model for m in client.list().models]
    expect(model in names, f"the models are {names}")


@check("model")
def one_model():
    shown = client.show(model)
    expect(shown.details and shown.modelinfo, f"the model is {shown}")


@check("running models")
def running_models():
    def names():
        return [m.model for m in client.ps().models]
    expect_soon(lambda: model in names(), lambda: f"the running models are {names()}")


@check("unknown model")
def unknown_model():
    for call in (lambda: client.chat(model=UNKNOWN_MODEL, messages=HELLO),
                 lambda: list(client.chat(model=UNKNOWN_MODEL, messages=HELLO, stream=True))):
        try:
            call()
            expect(False, "an unknown model was answered")
        except ollama.ResponseError as fault:
            expect(fault.status_code == 404, f"the status is {fault.status_code}")
            expect(f'model "{UNKNOWN_MODEL}" not found' in fault.error or f"model '{UNKNOWN_MODEL}' not found" in fault.error,
                   f"the message is {fault.error}")


@check("leave")
def leave():
    def open_stream():
        stream = client.chat(model=model, messages=[{"role": "user", "content": STORY}], stream=True)
        expect(not next(stream).done, "the first chunk is the last")
        return stream
    check.expect_leaving_frees(open_stream, lambda stream: stream.close())


@check("parallel")
def parallel():
    async def one(fast):
        stream = await fast.chat(model=model, messages=HELLO, options=SHORT, stream=True)
        return "".join([chunk.message.content async for chunk in stream])

    async def four():
        async with ollama.AsyncClient(host=base, timeout=60) as fast:
            return await asyncio.gather(*(one(fast) for _ in range(4)))

    texts = asyncio.run(four())
    expect(all(texts), f"the texts are {texts}")


check.run()
