// The official ollama SDK for Node against one base URL.

import { Ollama } from "ollama";
import {
  CITY_SCHEMA, Checks, HELLO, STORY, TOOL_ASK, UNKNOWN_MODEL,
  all, expect, expectCity, expectSoon, expectTexts, expectVectors, faultOf, show,
} from "./check.mjs";

const check = new Checks("ollama-node");
const { model } = check;
const client = new Ollama({ host: check.base });
const hello = { model, messages: [{ role: "user", content: HELLO }], options: { num_predict: 32 } };
const weather = { name: "weather", description: "The weather in a city.", parameters: CITY_SCHEMA };
const ask = { model, messages: [{ role: "user", content: TOOL_ASK }], tools: [{ type: "function", function: weather }] };

check.add("chat", async () => {
  const answer = await client.chat(hello);
  expect(answer.message.content && answer.done, `the answer is ${show(answer)}`);
  expect(["stop", "length"].includes(answer.done_reason), `done reason is ${answer.done_reason}`);
  expect(answer.prompt_eval_count > 0 && answer.eval_count > 0, `the counts are in ${show(answer)}`);
});

check.add("chat stream", async () => {
  const chunks = await all(client.chat({ ...hello, stream: true }));
  expectTexts(chunks.map((chunk) => chunk.message.content).filter(Boolean));
  expect(chunks.findIndex((chunk) => chunk.done) === chunks.length - 1, "the last chunk alone is not the done one");
  expect(chunks.at(-1).eval_count > 0, `the last chunk is ${show(chunks.at(-1))}`);
});

check.add("tools", async () => {
  const { tool_calls: calls } = (await client.chat(ask)).message;
  expect(calls?.length === 1 && calls[0].function.name === "weather", `the calls are ${show(calls)}`);
  expectCity(calls[0].function.arguments);
});

check.add("tools stream", async () => {
  const calls = (await all(client.chat({ ...ask, stream: true }))).flatMap((chunk) => chunk.message.tool_calls ?? []);
  expect(calls.length === 1 && calls[0].function.name === "weather", `the calls are ${show(calls)}`);
  expectCity(calls[0].function.arguments);
});

check.add("tool result", async () => {
  const messages = [
    ...ask.messages,
    { role: "assistant", content: "", tool_calls: [{ function: { name: "weather", arguments: { city: "Paris" } } }] },
    { role: "tool", tool_name: "weather", content: "Sunny, 21 degrees." },
  ];
  const answer = await client.chat({ ...hello, messages });
  expect(answer.message.content, `the message is ${show(answer.message)}`);
});

check.add("generate", async () => {
  const answer = await client.generate({ model, prompt: "Once upon a time", options: { num_predict: 32 } });
  expect(answer.response && answer.done, `the answer is ${show(answer)}`);
});

check.add("generate stream", async () => {
  const chunks = await all(
    client.generate({ model, prompt: "Once upon a time", options: { num_predict: 32 }, stream: true }));
  expectTexts(chunks.map((chunk) => chunk.response).filter(Boolean));
});

check.add("embeddings", async () => {
  const answer = await client.embed({ model: check.embedModel(), input: ["a lighthouse", "the sea"] });
  expectVectors(answer.embeddings);
});

check.add("models", async () => {
  const names = (await client.list()).models.map((item) => item.model);
  expect(names.includes(model), `the models are ${names}`);
});

check.add("model", async () => {
  const shown = await client.show({ model });
  expect(shown.details && shown.model_info, `the model is ${show(shown)}`);
});

check.add("running models", async () => {
  const names = async () => (await client.ps()).models.map((item) => item.model);
  await expectSoon(names, (found) => found.includes(model), "the running models");
});

check.add("version", async () => {
  const { version } = await client.version();
  expect(/^\d+\.\d+/.test(version), `the version is ${version}`);
});

check.add("unknown model", async () => {
  for (const stream of [false, true]) {
    const fault = await faultOf(() => client.chat({ ...hello, model: UNKNOWN_MODEL, stream }));
    expect(fault.name === "ResponseError" && fault.status_code === 404, `the fault is ${fault}`);
    expect(fault.message.includes(UNKNOWN_MODEL) && fault.message.includes("not found"), `the message is ${fault.message}`);
  }
});

check.add("leave", async () => {
  const openStream = async () => {
    const stream = await client.chat({ model, messages: [{ role: "user", content: STORY }], stream: true });
    const { value } = await stream[Symbol.asyncIterator]().next();
    expect(value && !value.done, `the first chunk is ${show(value)}`);
    return stream;
  };
  await check.expectLeavingFrees(openStream, (stream) => stream.abort());
});

check.add("parallel", async () => {
  const one = () => all(client.chat({ ...hello, stream: true }));
  const streams = await Promise.all([one(), one(), one(), one()]);
  for (const chunks of streams) expectTexts(chunks.map((chunk) => chunk.message.content).filter(Boolean));
});

await check.run();
