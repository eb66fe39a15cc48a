// The official @google/genai SDK for Node against one base URL.

import { ApiError, FunctionCallingConfigMode, GoogleGenAI } from "@google/genai";
import {
  CITY_SCHEMA, Checks, HELLO, STORY, TOOL_ASK, UNKNOWN_MODEL,
  all, expect, expectCity, expectTexts, expectVectors, faultOf, show,
} from "./check.mjs";

const check = new Checks("genai-node");
const { model } = check;
const client = new GoogleGenAI({ apiKey: "unused", vertexai: false, httpOptions: { baseUrl: check.base, timeout: 60_000 } });
const hello = { model, contents: HELLO, config: { maxOutputTokens: 32 } };
const weather = { name: "weather", description: "The weather in a city.", parametersJsonSchema: CITY_SCHEMA };
const ask = {
  model,
  contents: TOOL_ASK,
  config: {
    maxOutputTokens: 200,
    tools: [{ functionDeclarations: [weather] }],
    toolConfig: { functionCallingConfig: { mode: FunctionCallingConfigMode.ANY } },
  },
};

check.add("generate", async () => {
  const answer = await client.models.generateContent(hello);
  const finish = answer.candidates[0].finishReason;
  expect(answer.text, `the candidates are ${show(answer.candidates)}`);
  expect(["STOP", "MAX_TOKENS"].includes(finish), `finish is ${finish}`);
  const usage = answer.usageMetadata;
  expect(usage.promptTokenCount > 0 && usage.candidatesTokenCount > 0, `usage is ${show(usage)}`);
});

check.add("generate stream", async () => {
  const chunks = await all(client.models.generateContentStream(hello));
  expectTexts(chunks.map((chunk) => chunk.text).filter(Boolean));
  expect(chunks.at(-1).candidates[0].finishReason, `the last chunk is ${show(chunks.at(-1))}`);
  expect(chunks.at(-1).usageMetadata.candidatesTokenCount > 0, `the last chunk is ${show(chunks.at(-1))}`);
});

check.add("tools", async () => {
  const { functionCalls } = await client.models.generateContent(ask);
  expect(functionCalls?.length === 1 && functionCalls[0].name === "weather", `the calls are ${show(functionCalls)}`);
  expectCity(functionCalls[0].args);
});

check.add("tools stream", async () => {
  const calls = (await all(client.models.generateContentStream(ask))).flatMap((chunk) => chunk.functionCalls ?? []);
  expect(calls.length === 1 && calls[0].name === "weather", `the calls are ${show(calls)}`);
  expectCity(calls[0].args);
});

check.add("tool result", async () => {
  const contents = [
    { role: "user", parts: [{ text: TOOL_ASK }] },
    { role: "model", parts: [{ functionCall: { name: "weather", args: { city: "Paris" } } }] },
    { role: "user", parts: [{ functionResponse: { name: "weather", response: { result: "Sunny, 21 degrees." } } }] },
  ];
  const answer = await client.models.generateContent({ ...hello, contents });
  expect(answer.text, `the candidates are ${show(answer.candidates)}`);
});

check.add("count tokens", async () => {
  const count = async (contents) => (await client.models.countTokens({ model, contents })).totalTokens;
  const [short, long] = [await count(HELLO), await count(STORY.repeat(20))];
  expect(0 < short && short < long, `counted ${short} and ${long} tokens`);
});

check.add("embeddings", async () => {
  const answer = await client.models.embedContent({ model: check.embedModel(), contents: ["a lighthouse", "the sea"] });
  expectVectors(answer.embeddings.map((item) => item.values));
});

check.add("models", async () => {
  const names = (await all(client.models.list())).map((item) => item.name);
  expect(names.includes(`models/${model}`), `the models are ${names}`);
});

check.add("model", async () => {
  const { name } = await client.models.get({ model });
  expect(name === `models/${model}`, `get gives ${name}`);
});

check.add("unknown model", async () => {
  for (const call of ["generateContent", "generateContentStream"]) {
    const fault = await faultOf(() => client.models[call]({ ...hello, model: UNKNOWN_MODEL }));
    expect(fault instanceof ApiError && fault.status === 404, `the fault is ${fault}`);
    expect(fault.message.includes(UNKNOWN_MODEL), `the message does not name the model: ${fault.message}`);
    expect(fault.message.includes("NOT_FOUND"), `the message does not name the status: ${fault.message}`);
  }
});

check.add("leave", async () => {
  const leaving = new AbortController();
  const openStream = async () => {
    const stream = await client.models.generateContentStream(
      { model, contents: STORY, config: { abortSignal: leaving.signal } });
    expect(!(await stream.next()).done, "the stream is empty");
    return stream;
  };
  await check.expectLeavingFrees(openStream, () => leaving.abort());
});

check.add("parallel", async () => {
  const one = () => all(client.models.generateContentStream(hello));
  const streams = await Promise.all([one(), one(), one(), one()]);
  for (const chunks of streams) expectTexts(chunks.map((chunk) => chunk.text).filter(Boolean));
});

await check.run();
