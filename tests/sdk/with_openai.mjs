// The official openai SDK for Node against one base URL.

import OpenAI, { NotFoundError } from "openai";
import {
  CITY_SCHEMA, Checks, HELLO, STORY, TOOL_ASK, UNKNOWN_MODEL,
  all, expect, expectCity, expectTexts, expectVectors, faultOf, show,
} from "./check.mjs";

const check = new Checks("openai-node");
const { model } = check;
const client = new OpenAI({ baseURL: `${check.base}/v1`, apiKey: "unused", maxRetries: 0, timeout: 60_000 });
const hello = { model, messages: [{ role: "user", content: HELLO }], max_tokens: 32 };
const weather = { name: "weather", description: "The weather in a city.", parameters: CITY_SCHEMA };
const ask = {
  model,
  messages: [{ role: "user", content: TOOL_ASK }],
  tools: [{ type: "function", function: weather }],
  tool_choice: "required",
  parallel_tool_calls: false,
  max_tokens: 200,
};

check.add("chat", async () => {
  const answer = await client.chat.completions.create(hello);
  const [choice] = answer.choices;
  expect(answer.object === "chat.completion", `object is ${answer.object}`);
  expect(choice.message.content, "the answer has no text");
  expect(["stop", "length"].includes(choice.finish_reason), `finish is ${choice.finish_reason}`);
  expect(answer.usage.prompt_tokens > 0 && answer.usage.completion_tokens > 0, `usage is ${show(answer.usage)}`);
});

check.add("chat stream", async () => {
  const chunks = await all(client.chat.completions.create({ ...hello, stream: true }));
  expectTexts(chunks.map((chunk) => chunk.choices[0]?.delta.content).filter(Boolean));
  const finishes = chunks.map((chunk) => chunk.choices[0]?.finish_reason).filter(Boolean);
  expect(["stop", "length"].includes(finishes.join()), `the finish reasons are ${finishes}`);
  expect(!chunks.some((chunk) => chunk.usage), "usage came though it was not asked for");
});

check.add("chat stream usage", async () => {
  const chunks = await all(
    client.chat.completions.create({ ...hello, stream: true, stream_options: { include_usage: true } }));
  const usages = chunks.map((chunk) => chunk.usage).filter(Boolean);
  expect(usages.length === 1 && chunks.at(-1).usage, `the usages are ${show(usages)}, the last chunk ${show(chunks.at(-1))}`);
  expect(usages[0].prompt_tokens > 0 && usages[0].completion_tokens > 0, `usage is ${show(usages[0])}`);
});

check.add("chat helper", async () => {
  const stream = client.chat.completions.stream(hello);
  const answer = await stream.finalChatCompletion();
  expect(answer.choices[0].message.content, `the answer is ${show(answer)}`);
});

check.add("tools", async () => {
  const { choices: [choice] } = await client.chat.completions.create(ask);
  const [call] = choice.message.tool_calls ?? [];
  expect(call?.id && call.function.name === "weather", `the message is ${show(choice.message)}`);
  expect(choice.finish_reason === "tool_calls", `finish is ${choice.finish_reason}`);
  expectCity(JSON.parse(call.function.arguments));
});

check.add("tools stream", async () => {
  const chunks = await all(client.chat.completions.create({ ...ask, stream: true }));
  const deltas = chunks.flatMap((chunk) => chunk.choices[0]?.delta.tool_calls ?? []);
  expect(deltas.filter((delta) => delta.id).length === 1, `the id does not come exactly once: ${show(deltas)}`);
  expect(deltas.map((delta) => delta.function.name ?? "").join("") === "weather", `the deltas are ${show(deltas)}`);
  expectCity(JSON.parse(deltas.map((delta) => delta.function.arguments ?? "").join("")));
});

check.add("tool result", async () => {
  const call = { id: "call_1", type: "function", function: { name: "weather", arguments: '{"city":"Paris"}' } };
  const turns = [
    ...ask.messages,
    { role: "assistant", content: null, tool_calls: [call] },
    { role: "tool", tool_call_id: "call_1", content: "Sunny, 21 degrees." },
  ];
  const answer = await client.chat.completions.create({ model, messages: turns, max_tokens: 64 });
  expect(answer.choices[0].message.content, `the message is ${show(answer.choices[0].message)}`);
});

check.add("responses", async () => {
  const answer = await client.responses.create({ model, input: HELLO, max_output_tokens: 32 });
  expect(answer.output_text, `the output is ${show(answer.output)}`);
  expect(answer.usage.input_tokens > 0 && answer.usage.output_tokens > 0, `usage is ${show(answer.usage)}`);
});

check.add("responses stream", async () => {
  const events = await all(client.responses.create({ model, input: HELLO, max_output_tokens: 32, stream: true }));
  expectTexts(events.filter((event) => event.type === "response.output_text.delta").map((event) => event.delta));
  const last = events.at(-1).type;
  expect(["response.completed", "response.incomplete"].includes(last), `the last event is ${last}`);
});

check.add("responses helper", async () => {
  const answer = await client.responses.stream({ model, input: HELLO }).finalResponse();
  expect(answer.output_text, `the output is ${show(answer.output)}`);
});

check.add("completions", async () => {
  const answer = await client.completions.create({ model, prompt: "Once upon a time", max_tokens: 16 });
  expect(answer.object === "text_completion" && answer.choices[0].text, `the answer is ${show(answer)}`);
});

check.add("completions stream", async () => {
  const chunks = await all(
    client.completions.create({ model, prompt: "Once upon a time", max_tokens: 16, stream: true }));
  expectTexts(chunks.map((chunk) => chunk.choices[0]?.text).filter(Boolean));
});

check.add("embeddings", async () => {
  const answer = await client.embeddings.create({ model: check.embedModel(), input: ["a lighthouse", "the sea"] });
  expectVectors(answer.data.map((item) => item.embedding));
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
    const fault = await faultOf(() => client.chat.completions.create({ ...hello, model: UNKNOWN_MODEL, stream }));
    expect(fault instanceof NotFoundError, `the fault is ${fault}`);
    expect(fault.message.includes(UNKNOWN_MODEL), `the message does not name the model: ${fault.message}`);
  }
});

check.add("leave", async () => {
  const openStream = async () => {
    const stream = await client.chat.completions.create(
      { model, messages: [{ role: "user", content: STORY }], max_tokens: 2000, stream: true });
    const chunks = stream[Symbol.asyncIterator]();
    await chunks.next();
    await chunks.next();
    return stream;
  };
  await check.expectLeavingFrees(openStream, (stream) => stream.controller.abort());
});

check.add("parallel", async () => {
  const one = async () => all(await client.chat.completions.create({ ...hello, stream: true }));
  const streams = await Promise.all([one(), one(), one(), one()]);
  for (const chunks of streams) expectTexts(chunks.map((chunk) => chunk.choices[0]?.delta.content).filter(Boolean));
});

await check.run();
