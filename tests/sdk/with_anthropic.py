"""The official anthropic SDK for Python against one base URL."""

import asyncio
import json

import anthropic

from check import CITY_SCHEMA, STORY, TOOL_ASK, UNKNOWN_MODEL, Checks, expect, expect_city

check = Checks("anthropic-py")
base, model = check.args.base, check.args.model
client = anthropic.Anthropic(base_url=base, api_key="unused", max_retries=0, timeout=60)
HELLO = [{"role": "user", "content": "Say hello — grüß dich, 你好 🙂"}]
ASK = {"model": model, "messages": [{"role": "user", "content": TOOL_ASK}], "max_tokens": 200,
       "tools": [{"name": "weather", "description": "The weather in a city.", "input_schema": CITY_SCHEMA}],
       "tool_choice": {"type": "any", "disable_parallel_tool_use": True}}


@check("messages")
def messages():
    answer = client.messages.create(model=model, messages=HELLO, max_tokens=32)
    expect(answer.type == "message" and answer.content[0].text, f"the content is {answer.content}")
    expect(answer.stop_reason in ("end_turn", "max_tokens"), f"the stop reason is {answer.stop_reason!r}")
    expect(answer.usage.output_tokens > 0, f"usage is {answer.usage}")


@check("messages stream")
def messages_stream():
    events = list(client.messages.create(model=model, messages=HELLO, max_tokens=32, stream=True))
    texts = [e.delta.text for e in events if e.type == "content_block_delta" and e.delta.type == "text_delta"]
    expect(len(texts) >= 2 and "".join(texts).strip(), f"the chunks of text are {texts}")
    expect(events[0].type == "message_start", f"the first event is {events[0].type}")
    expect(events[-1].type == "message_stop", f"the last event is {events[-1].type}")


@check("messages helper")
def messages_helper():
    with client.messages.stream(model=model, messages=HELLO, max_tokens=32) as stream:
        text = "".join(stream.text_stream)
        answer = stream.get_final_message()
    expect(text and answer.content[0].text == text, f"the text is {text!r}, the content {answer.content}")
    expect(answer.stop_reason and answer.usage.output_tokens > 0, f"stop {answer.stop_reason}, usage {answer.usage}")


@check("tools")
def tools():
    answer = client.messages.create(**ASK)
    calls = [block for block in answer.content if block.type == "tool_use"]
    expect(len(calls) == 1 and calls[0].id and calls[0].name == "weather", f"the content is {answer.content}")
    expect(answer.stop_reason == "tool_use", f"the stop reason is {answer.stop_reason!r}")
    expect_city(calls[0].input)


@check("tools stream")
def tools_stream():
    events = list(client.messages.create(**ASK, stream=True))
    starts = [e for e in events if e.type == "content_block_start"]
    expect([e.index for e in starts] == list(range(len(starts))), f"the blocks start as {starts}")
    calls = [e for e in starts if e.content_block.type == "tool_use"]
    expect([e.content_block.name for e in calls] == ["weather"], f"the blocks start as {starts}")
    parts = [e.delta.partial_json for e in events
             if e.type == "content_block_delta" and e.delta.type == "input_json_delta"]
    expect_city(json.loads("".join(parts)))


@check("tool result")
def tool_result():
    call = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Paris"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "Sunny, 21 degrees."}
    turns = ASK["messages"] + [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    answer = client.messages.create(**{**ASK, "messages": turns, "tool_choice": {"type": "none"}})
    expect(any(block.type == "text" and block.text for block in answer.content), f"the content is {answer.content}")


@check("count tokens")
def count_tokens():
    short = client.messages.count_tokens(model=model, messages=HELLO).input_tokens
    long = client.messages.count_tokens(model=model, messages=[{"role": "user", "content": STORY * 20}]).input_tokens
    expect(0 < short < long, f"counted {short} and {long} tokens")


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
            client.messages.create(model=UNKNOWN_MODEL, messages=HELLO, max_tokens=8, stream=stream)
            expect(False, "an unknown model was answered")
        except anthropic.NotFoundError as fault:
            expect(UNKNOWN_MODEL in fault.message, f"the message does not name the model: {fault.message}")
            expect(fault.body["error"]["type"] == "not_found_error", f"the body is {fault.body}")


@check("leave")
def leave():
    def open_stream():
        stream = client.messages.create(
            model=model, messages=[{"role": "user", "content": STORY}], max_tokens=2000, stream=True)
        for event in stream:
            if event.type == "content_block_delta":
                return stream
        return stream
    check.expect_leaving_frees(open_stream, lambda stream: stream.close())


@check("parallel")
def parallel():
    async def one(fast):
        async with fast.messages.stream(model=model, messages=HELLO, max_tokens=16) as stream:
            return await stream.get_final_text()

    async def four():
        async with anthropic.AsyncAnthropic(base_url=base, api_key="unused", max_retries=0, timeout=60) as fast:
            return await asyncio.gather(*(one(fast) for _ in range(4)))

    texts = asyncio.run(four())
    expect(all(texts), f"the texts are {texts}")


check.run()
