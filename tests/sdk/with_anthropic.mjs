// The official @anthropic-ai/sdk for Node against one base URL.

import Anthropic, { NotFoundError } from "@anthropic-ai/sdk";
import {
  CITY_SCHEMA, Checks, HELLO, STORY, TOOL_ASK, UNKNOWN_MODEL,
  all, expect, expectCity, expectTexts, faultOf, show,
} from "./check.mjs";

const check = new Checks("anthropic-node");
const { model } = check;
const client = new Anthropic({ baseURL: check.base, apiKey: "unused", maxRetries: 0, timeout: 60_000 });
const hello = { model, messages: [{ role: "user", content: HELLO }], max_tokens: 32 };
const ask = {
  model,
  messages: [{ role: "user", content: TOOL_ASK }],
  max_tokens: 200,
  tools: [{ name: "weather", description: "The weather in a city.", input_schema: CITY_SCHEMA }],
  tool_choice: { type: "any", disable_parallel_tool_use: true },
};
const deltas = (events, type) =>
  events.filter((event) => event.type === "content_block_delta" && event.delta.type === type).map((event) => event.delta);

check.add("messages", async () => {
  const answer = await client.messages.create(hello);
  expect(answer.type === "message" && answer.content[0].text, `the content is ${show(answer.content)}`);
  expect(["end_turn", "max_tokens"].includes(answer.stop_reason), `the stop reason is ${answer.stop_reason}`);
  expect(answer.usage.output_tokens > 0, `usage is ${show(answer.usage)}`);
});

check.add("messages stream", async () => {
  const events = await all(client.messages.create({ ...hello, stream: true }));
  expectTexts(deltas(events, "text_delta").map((delta) => delta.text));
  const ends = [events[0].type, events.at(-1).type];
  expect(show(ends) === show(["message_start", "message_stop"]), `the first and last event are ${ends}`);
});

check.add("messages helper", async () => {
  const answer = await client.messages.stream(hello).finalMessage();
  expect(answer.content[0].text && answer.stop_reason, `the message is ${show(answer)}`);
  expect(answer.usage.output_tokens > 0, `usage is ${show(answer.usage)}`);
});

check.add("tools", async () => {
  const answer = await client.messages.create(ask);
  const calls = answer.content.filter((block) => block.type === "tool_use");
  expect(calls.length === 1 && calls[0].id && calls[0].name === "weather", `the content is ${show(answer.content)}`);
  expect(answer.stop_reason === "tool_use", `the stop reason is ${answer.stop_reason}`);
  expectCity(calls[0].input);
});

check.add("tools stream", async () => {
  const events = await all(client.messages.create({ ...ask, stream: true }));
  const starts = events.filter((event) => event.type === "content_block_start");
  expect(starts.every((event, place) => event.index === place), `the blocks start as ${show(starts)}`);
  const names = starts.filter((event) => event.content_block.type === "tool_use").map((event) => event.content_block.name);
  expect(show(names) === show(["weather"]), `the blocks start as ${show(starts)}`);
  expectCity(JSON.parse(deltas(events, "input_json_delta").map((delta) => delta.partial_json).join("")));
});

check.add("tool result", async () => {
  const call = { type: "tool_use", id: "toolu_1", name: "weather", input: { city: "Paris" } };
  const result = { type: "tool_result", tool_use_id: "toolu_1", content: "Sunny, 21 degrees." };
  const messages = [...ask.messages, { role: "assistant", content: [call] }, { role: "user", content: [result] }];
  const answer = await client.messages.create({ ...ask, messages, tool_choice: { type: "none" } });
  expect(answer.content.some((block) => block.type === "text" && block.text), `the content is ${show(answer.content)}`);
});

check.add("count tokens", async () => {
  const count = async (content) =>
    (await client.messages.countTokens({ model, messages: [{ role: "user", content }] })).input_tokens;
  const [short, long] = [await count(HELLO), await count(STORY.repeat(20))];
  expect(0 < short && short < long, `counted ${short} and ${long} tokens`);
});

check.add("models", async () => {
  const names = (await all(client.models.list())).map((item) => item.id);
  expect(names.includes(model), `the models are ${names}`);
});

check.add("model", async () => {
  const { id } = await client.models.retrieve(model);
  expect(id === model, `retrieve gives ${id}`);
});

check.add("unknown model", async () => {
  for (const stream of [false, true]) {
    const fault = await faultOf(() => client.messages.create({ ...hello, model: UNKNOWN_MODEL, stream }));
    expect(fault instanceof NotFoundError, `the fault is ${fault}`);
    expect(fault.message.includes(UNKNOWN_MODEL), `the message does not name the model: ${fault.message}`);
    expect(fault.error.error.type === "not_found_error", `the body is ${show(fault.error)}`);
  }
});

check.add("leave", async () => {
  const openStream = async () => {
    const stream = await client.messages.create(
      { model, messages: [{ role: "user", content: STORY }], max_tokens: 2000, stream: true });
    const events = stream[Symbol.asyncIterator]();
    for (let event = await events.next(); !event.done; event = await events.next()) {
      if (event.value.type === "content_block_delta") break;
    }
    return stream;
  };
  await check.expectLeavingFrees(openStream, (stream) => stream.controller.abort());
});

check.add("parallel", async () => {
  const one = () => client.messages.stream({ ...hello, max_tokens: 16 }).finalText();
  const texts = await Promise.all([one(), one(), one(), one()]);
  expect(texts.every(Boolean), `the texts are ${show(texts)}`);
});

await check.run();
