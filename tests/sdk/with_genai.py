"""The official google-genai SDK for Python against one base URL."""

import asyncio

from google import genai
from google.genai import errors, types

from check import CITY_SCHEMA, STORY, TOOL_ASK, UNKNOWN_MODEL, Checks, expect, expect_city

check = Checks("genai-py")
model = check.args.model
HELLO = "Say hello — grüß dich, 你好 🙂"
TOOLS = [types.Tool(function_declarations=[types.FunctionDeclaration(
    name="weather", description="The weather in a city.", parameters_json_schema=CITY_SCHEMA)])]
FORCED = types.ToolConfig(function_calling_config=types.FunctionCallingConfig(mode="ANY"))
ASK = types.GenerateContentConfig(tools=TOOLS, tool_config=FORCED, max_output_tokens=200)
SHORT = types.GenerateContentConfig(max_output_tokens=32)


def connect():
    options = types.HttpOptions(base_url=check.args.base, timeout=60_000)
    return genai.Client(api_key="unused", vertexai=False, http_options=options)


client = connect()


@check("generate")
def generate():
    answer = client.models.generate_content(model=model, contents=HELLO, config=SHORT)
    expect(answer.text, f"the candidates are {answer.candidates}")
    finish = answer.candidates[0].finish_reason
    expect(finish in (types.FinishReason.STOP, types.FinishReason.MAX_TOKENS), f"finish is {finish}")
    usage = answer.usage_metadata
    expect(usage.prompt_token_count > 0 and usage.candidates_token_count > 0, f"usage is {usage}")


@check("generate stream")
def generate_stream():
    chunks = list(client.models.generate_content_stream(model=model, contents=HELLO, config=SHORT))
    texts = [chunk.text for chunk in chunks if chunk.text]
    expect(len(texts) >= 2 and "".join(texts).strip(), f"the chunks of text are {texts}")
    expect(chunks[-1].candidates[0].finish_reason, f"the last chunk is {chunks[-1]}")
    expect(chunks[-1].usage_metadata.candidates_token_count > 0, f"usage is {chunks[-1].usage_metadata}")


@check("tools")
def tools():
    answer = client.models.generate_content(model=model, contents=TOOL_ASK, config=ASK)
    expect([call.name for call in answer.function_calls or []] == ["weather"], f"the calls are {answer.function_calls}")
    expect_city(answer.function_calls[0].args)


@check("tools stream")
def tools_stream():
    chunks = client.models.generate_content_stream(model=model, contents=TOOL_ASK, config=ASK)
    calls = [call for chunk in chunks for call in chunk.function_calls or []]
    expect([call.name for call in calls] == ["weather"], f"the calls are {calls}")
    expect_city(calls[0].args)


@check("tool result")
def tool_result():
    call = types.Part.from_function_call(name="weather", args={"city": "Paris"})
    result = types.Part.from_function_response(name="weather", response={"result": "Sunny, 21 degrees."})
    turns = [types.UserContent(TOOL_ASK), types.ModelContent([call]), types.UserContent([result])]
    answer = client.models.generate_content(model=model, contents=turns, config=SHORT)
    expect(answer.text, f"the candidates are {answer.candidates}")


@check("count tokens")
def count_tokens():
    short = client.models.count_tokens(model=model, contents=HELLO).total_tokens
    long = client.models.count_tokens(model=model, contents=STORY * 20).total_tokens
    expect(0 < short < long, f"counted {short} and {long} tokens")


@check("embeddings")
def embeddings():
    # Contents, not texts: for a name with "gemini" in it this SDK makes one content of a list of texts.
    contents = [types.UserContent("a lighthouse"), types.UserContent("the sea")]
    answer = client.models.embed_content(model=check.embed_model(), contents=contents)
    sizes = [len(item.values) for item in answer.embeddings]
    expect(len(sizes) == 2 and sizes[0] == sizes[1] > 1, f"the vectors' sizes are {sizes}")
    expect(answer.embeddings[0].values != answer.embeddings[1].values, "two texts have one vector")


@check("models")
def models():
    names = [m.name for m in client.models.list()]
    expect(f"models/{model}" in names, f"the models are {names}")


@check("model")
def one_model():
    name = client.models.get(model=model).name
    expect(name == f"models/{model}", f"get gives {name}")


@check("unknown model")
def unknown_model():
    calls = [lambda: client.models.generate_content(model=UNKNOWN_MODEL, contents=HELLO),
             lambda: list(client.models.generate_content_stream(model=UNKNOWN_MODEL, contents=HELLO))]
    for call in calls:
        try:
            call()
            expect(False, "an unknown model was answered")
        except errors.ClientError as fault:
            expect((fault.code, fault.status) == (404, "NOT_FOUND"), f"the fault is {fault.code} {fault.status}")
            expect(UNKNOWN_MODEL in fault.message, f"the message does not name the model: {fault.message}")


@check("leave")
def leave():
    # A client of its own: closing it is how this SDK drops the connection of a stream.
    leaver = connect()

    def open_stream():
        stream = leaver.models.generate_content_stream(model=model, contents=STORY)
        expect(next(stream).candidates, "the first chunk has no candidate")
        return stream

    check.expect_leaving_frees(open_stream, lambda stream: (stream.close(), leaver.close()))


@check("parallel")
def parallel():
    async def one(fast):
        stream = await fast.models.generate_content_stream(model=model, contents=HELLO, config=SHORT)
        return "".join([chunk.text or "" async for chunk in stream])

    async def four():
        async with connect().aio as fast:
            return await asyncio.gather(*(one(fast) for _ in range(4)))

    texts = asyncio.run(four())
    expect(all(texts), f"the texts are {texts}")


check.run()
