// One answer, from the question's sending to its last word: waits while the server is busy, counts, can be stopped.

import { ask, Refusal } from "./api.js";
import { toRequest } from "./settings.js";

const MOST_TRIES = 6;

function isBusy(error) {
  return error instanceof Refusal && (error.status === 429 || error.status === 503);
}

// Resolves after so many seconds, when told to with go(), or rejects when the signal says so.
function pause(run, seconds) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    run.go = resolve;
    run.signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("stopped", "AbortError"));
    }, { once: true });
  });
}

function take(run, event) {
  if (event.usage) run.usage = event.usage;
  const choice = event.choices[0];
  if (!choice) return;
  if (choice.finish_reason) run.reason = choice.finish_reason;
  const piece = choice.delta.content;
  if (!piece) return;
  const now = performance.now();
  run.first ??= now;
  run.last = now;
  run.pieces++;
  run.message.text += piece;
  run.onPiece(piece);
}

async function stream(run, body) {
  run.begun = performance.now();
  for await (const event of ask(body, run.signal)) take(run, event);
}

async function streamWhenFree(run, body) {
  for (let tries = 1; ; tries++) {
    try {
      await stream(run, body);
      return;
    } catch (error) {
      if (!isBusy(error) || tries === MOST_TRIES) throw error;
      const seconds = error.retryAfter || 2 ** tries;
      run.onWait(error.message, seconds);
      await pause(run, seconds);
      run.onWait(null, 0);
    }
  }
}

// Tokens of a second so far; 0 before there are two.
export function rate(run) {
  const tokens = run.usage?.completion_tokens ?? run.pieces;
  return tokens > 1 && run.last > run.first ? (1000 * (tokens - 1)) / (run.last - run.first) : 0;
}

function stats(run) {
  const tokens = run.usage?.completion_tokens ?? run.pieces;
  const wait = run.first === undefined ? undefined : (run.first - run.begun) / 1000;
  return { tokens, rate: rate(run), wait, reason: run.reason, total: run.usage?.total_tokens };
}

// Writes run.message = {role, text, stats}. The callbacks: onPiece(text), onWait(why or null, seconds). Returns null,
// or the error that ended it; stopping is none.
export async function write(run, conversation) {
  const body = { ...toRequest(conversation), stream: true, stream_options: { include_usage: true } };
  let failure = null;
  try {
    await streamWhenFree(run, body);
  } catch (error) {
    run.reason = error.name === "AbortError" ? "stopped" : "failed";
    if (run.reason === "failed") failure = error;
  }
  run.message.stats = stats(run);
  return failure;
}

export function newRun() {
  const controller = new AbortController();
  const message = { role: "assistant", text: "" };
  return { signal: controller.signal, stop: () => controller.abort(), message, pieces: 0 };
}
