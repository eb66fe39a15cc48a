// Runs the named checks of one SDK against one base URL and says how each went, a line each; the twin of check.py.
//
// A check that does not apply is named with its reason (`--lacks NAME=REASON`) and printed as skipped, never left out.

import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";

const CHECK_DEADLINE_MS = 120_000;
const FREE_DEADLINE_MS = 1_000;
const POLL_PAUSE_MS = 10;
// Which models are loaded is looked at by probes, every 5 s by default.
const PROBED_DEADLINE_MS = 15_000;

export const UNKNOWN_MODEL = "no-such-model";
export const HELLO = "Say hello — grüß dich, 你好 🙂";
export const STORY = "Write a very long story about a lighthouse, in as much detail as you can.";
export const TOOL_ASK = "What is the weather in Paris? Use the tool.";
export const CITY_SCHEMA = {
  type: "object",
  properties: { city: { type: "string", enum: ["Paris", "London"] } },
  required: ["city"],
};

class Skipped extends Error {}

export function expect(condition, otherwise) {
  if (!condition) throw new Error(otherwise);
}

/** Expects `look` to find what the next probe brings to light, within PROBED_DEADLINE_MS. */
export async function expectSoon(look, isRight, name) {
  const start = performance.now();
  for (let found = await look(); !isRight(found); found = await look()) {
    expect(performance.now() - start < PROBED_DEADLINE_MS, `${name} are ${found}`);
    await pause(POLL_PAUSE_MS);
  }
}

export function expectCity(args) {
  expect(["Paris", "London"].includes(args?.city), `the tool call's arguments are ${show(args)}`);
}

export function expectVectors(vectors) {
  const sizes = vectors.map((vector) => vector.length);
  expect(sizes.length === 2 && sizes[0] === sizes[1] && sizes[0] > 1, `the vectors' sizes are ${sizes}`);
  expect(vectors.flat().every((x) => typeof x === "number"), "the vectors are not numbers");
  expect(show(vectors[0]) !== show(vectors[1]), "two texts have one vector");
}

/** Expects `call` to fail, and gives what it failed with. */
export async function faultOf(call) {
  try {
    await call();
  } catch (fault) {
    return fault;
  }
  throw new Error("it was answered");
}

/** Everything that a stream gives. */
export async function all(stream) {
  const items = [];
  for await (const item of await stream) items.push(item);
  return items;
}

export function expectTexts(texts) {
  expect(texts.length >= 2 && texts.join("").trim(), `the chunks of text are ${show(texts)}`);
}

export const show = (value) => JSON.stringify(value);

/** The checks of one SDK, in the order in which they were declared. */
export class Checks {
  constructor(sdk) {
    const { values } = parseArgs({
      options: {
        base: { type: "string" }, // http://host:port, without /v1
        model: { type: "string" },
        "embed-model": { type: "string" }, // absent: no embeddings here
        idle: { type: "string", multiple: true, default: [] }, // llama.cpp's /slots or llmsim's statistics
        lacks: { type: "string", multiple: true, default: [] },
      },
    });
    if (!values.base || !values.model) throw new Error("--base and --model are required");
    this.sdk = sdk;
    this.base = values.base.replace(/\/+$/, "");
    this.model = values.model;
    this.idle = values.idle;
    this.lacks = new Map(values.lacks.map((entry) => entry.split(/=(.*)/s, 2)));
    this.embed = values["embed-model"];
    this.checks = [];
  }

  add(name, run) {
    this.checks.push([name, run]);
  }

  embedModel() {
    if (!this.embed) throw new Skipped("no --embed-model given");
    return this.embed;
  }

  /** Opens a long stream, sees the server busy, leaves, and sees it free within FREE_DEADLINE_MS. */
  async expectLeavingFrees(openStream, leave) {
    if (this.idle.length === 0) throw new Skipped("no --idle URL given");
    const stream = await openStream();
    expect(await this.anyBusy(), "the server is not busy while the stream is open");
    await leave(stream);
    const left = performance.now();
    while (await this.anyBusy()) {
      const waited = performance.now() - left;
      expect(waited < FREE_DEADLINE_MS, `the server is still busy ${Math.round(waited)} ms after the client left`);
      await pause(POLL_PAUSE_MS);
    }
  }

  async anyBusy() {
    return (await Promise.all(this.idle.map(busy))).some(Boolean);
  }

  async run() {
    const names = this.checks.map(([name]) => name);
    const strangers = [...this.lacks.keys()].filter((name) => !names.includes(name));
    if (strangers.length > 0) throw new Error(`${this.sdk} has no check named ${strangers.join(", ")}`);
    const counts = { ok: 0, skip: 0, FAIL: 0 };
    for (const [name, run] of this.checks) {
      const [verdict, reason] = this.lacks.has(name) ? ["skip", this.lacks.get(name)] : await judge(run);
      counts[verdict] += 1;
      console.log(`${verdict} ${this.sdk} ${name}${reason ? `: ${reason}` : ""}`);
    }
    console.log(`${this.sdk}: ${counts.ok} ok, ${counts.skip} skipped, ${counts.FAIL} failed`);
    process.exit(counts.FAIL > 0 || counts.ok === 0 ? 1 : 0);
  }
}

async function judge(run) {
  const late = new AbortController();
  const deadline = pause(CHECK_DEADLINE_MS, undefined, { signal: late.signal, ref: true })
    .then(() => { throw new Error(`not done after ${CHECK_DEADLINE_MS / 1000} s`); });
  try {
    await Promise.race([run(), deadline]);
    return ["ok", ""];
  } catch (fault) {
    return fault instanceof Skipped ? ["skip", fault.message] : ["FAIL", `${fault.constructor.name}: ${fault.message}`];
  } finally {
    deadline.catch(() => {});
    late.abort();
  }
}

/** Whether a server works on something: llama.cpp's list of slots, or llmsim's statistics. */
async function busy(url) {
  const answer = await fetch(url, { signal: AbortSignal.timeout(5_000) });
  const state = await answer.json();
  return Array.isArray(state) ? state.some((slot) => slot.is_processing) : state.running > 0;
}
