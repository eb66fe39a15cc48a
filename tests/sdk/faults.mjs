// The official SDKs for Node in front of servers that fail; the twin of faults.py.

import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";

import Anthropic from "@anthropic-ai/sdk";
import { GoogleGenAI } from "@google/genai";
import { Ollama } from "ollama";
import OpenAI from "openai";

const TIMEOUT_MS = 60_000;
const AT_ONCE = 16;
const HELLO = [{ role: "user", content: "hi" }];

const { values: args } = parseArgs({ options: { cells: { type: "string" }, retries: { type: "boolean" } } });
const options = { apiKey: "unused", timeout: TIMEOUT_MS, ...(args.retries ? {} : { maxRetries: 0 }) };

class Told extends Error {}

const CLIENTS = {
  openai: (base) => new OpenAI({ baseURL: `${base}/v1`, ...options }),
  anthropic: (base) => new Anthropic({ baseURL: base, ...options }),
  gemini: (base) => new GoogleGenAI({ apiKey: "unused", httpOptions: { baseUrl: base, timeout: TIMEOUT_MS } }),
  ollama: (base) => new Ollama({ host: base }),
};
const clients = new Map();

function client({ family, base }) {
  const key = `${family} ${base}`;
  if (!clients.has(key)) clients.set(key, CLIENTS[family](base));
  return clients.get(key);
}

/** The texts of an answer in one piece or in many. */
async function joined(answer, stream, text) {
  if (!stream) return text(await answer) ?? "";
  let all = "";
  for await (const part of await answer) all += text(part) ?? "";
  return all;
}

const failed = (event) => ["response.failed", "error"].includes(event.type);

const TEXTS = {
  "openai chat": (api, model, most, stream) =>
    joined(api.chat.completions.create({ model, messages: HELLO, max_tokens: most, stream }), stream,
      ({ choices: [choice] }) => (choice?.delta ?? choice?.message)?.content),
  "openai completions": (api, model, most, stream) =>
    joined(api.completions.create({ model, prompt: "hi", max_tokens: most, stream }), stream,
      ({ choices: [choice] }) => choice?.text),
  "openai responses": (api, model, most, stream) =>
    joined(api.responses.create({ model, input: "hi", max_output_tokens: most, stream }), stream, (event) => {
      if (!stream) return event.output_text;
      if (failed(event)) throw new Told(event.type);
      return event.type === "response.output_text.delta" ? event.delta : "";
    }),
  "anthropic messages": async (api, model, most, stream) => {
    const ask = { model, messages: HELLO, max_tokens: most };
    return stream ? api.messages.stream(ask).finalText() : (await api.messages.create(ask)).content[0].text;
  },
  "gemini generateContent": async (api, model, most) =>
    (await api.models.generateContent({ model, contents: "hi", config: { maxOutputTokens: most } })).text,
  "gemini events": (api, model, most) =>
    joined(api.models.generateContentStream({ model, contents: "hi", config: { maxOutputTokens: most } }), true,
      (part) => part.text),
  "ollama chat": (api, model, most, stream) =>
    joined(api.chat({ model, messages: HELLO, options: { num_predict: most }, stream }), stream, (part) => part.message.content),
  "ollama generate": (api, model, most, stream) =>
    joined(api.generate({ model, prompt: "hi", options: { num_predict: most }, stream }), stream, (part) => part.response),
};
// Other calls of an SDK that give the same stream.
const STREAMS = {
  "openai chat": async (api, model, most) =>
    (await api.chat.completions.stream({ model, messages: HELLO, max_tokens: most }).finalContent()) ?? "",
  "openai responses": async (api, model, most) => {
    const answer = await api.responses.stream({ model, input: "hi", max_output_tokens: most }).finalResponse();
    if (answer.status === "failed") throw new Told(answer.error?.message);
    return answer.output_text;
  },
  "anthropic messages": (api, model, most) =>
    joined(api.messages.create({ model, messages: HELLO, max_tokens: most, stream: true }), true,
      (event) => event.delta?.text),
};
const VECTORS = {
  "openai embeddings": async (api, model) =>
    (await api.embeddings.create({ model, input: "hi", encoding_format: "float" })).data[0].embedding,
  "gemini embedContent": async (api, model) =>
    (await api.models.embedContent({ model, contents: "hi" })).embeddings[0].values,
  "ollama embed": async (api, model) => (await api.embed({ model, input: "hi" })).embeddings[0],
};

/** The calls of an SDK that make the request of a cell; each gives whether its answer is whole. */
function calls(cell) {
  const key = `${cell.family} ${cell.way}`;
  const [api, { model, max, tokens, stream }] = [client(cell), cell];
  if (VECTORS[key]) return [async () => (await VECTORS[key](api, model)).length > 1];
  const whole = (text) => text.split(/\s+/).filter(Boolean).length >= tokens;
  const found = [async () => whole(await TEXTS[key](api, model, max, stream))];
  if (stream && STREAMS[key] && !args.retries) found.push(async () => whole(await STREAMS[key](api, model, max)));
  return found;
}

/** The status of a fault, where its SDK has it. */
const statusOf = (fault) => fault.status ?? fault.status_code;

/** What is wrong; nothing when it comes to what it must. Behind the first call the breaker may have opened. */
async function judge({ told }, call, first) {
  let whole;
  try {
    whole = await call();
  } catch (fault) {
    if (told === "whole") return `raises ${fault.constructor.name}: ${fault.message}`;
    const [status] = told.split(" ");
    if (first && /^\d+$/.test(status) && `${statusOf(fault)}` !== status) {
      return `raises ${fault.constructor.name} with status ${statusOf(fault)}, not ${status}: ${fault.message}`;
    }
    return undefined;
  }
  if (told === "whole") return whole ? undefined : "returns an answer that is not whole";
  return `returns ${whole ? "a whole" : "a truncated"} answer where the server fails`;
}

const cells = JSON.parse(readFileSync(args.cells, "utf8"));
const wrong = [];
let count = 0;

async function worker(queue) {
  for (let cell = queue.shift(); cell; cell = queue.shift()) {
    for (const [place, call] of calls(cell).entries()) {
      const what = await judge(cell, call, place === 0);
      count += 1;
      const name = `${cell.family} ${cell.way}, ${cell.stream ? "stream" : "whole"}`;
      const where = cell.another ? "with another backend" : "alone";
      if (what) wrong.push(`FAIL ${cell.fault}: ${name}, ${where} (${cell.told}): ${what}`);
    }
  }
}

const queue = [...cells];
await Promise.all(Array.from({ length: AT_ONCE }, () => worker(queue)));
wrong.forEach((line) => console.log(line));
console.log(`SDKs for Node: ${count} calls, ${wrong.length} failed`);
process.exit(wrong.length > 0 || cells.length === 0 ? 1 : 0);
