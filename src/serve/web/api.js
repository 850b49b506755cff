// The server's API: errors as Refusal, streams as events. Addresses are relative, so a proxy may put the server below a
// path of its own.

const KEY = "accllm.key";

// What the server, or the way to it, says instead of an answer.
export class Refusal extends Error {
  // status: of HTTP, 0 when there was no reply; retryAfter: seconds, 0 when the server does not say
  constructor(message, status = 0, retryAfter = 0) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

let key = null;
try {
  key = sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY);
} catch {
  // a browser without storage: the key is asked for on every visit
}

// It lives as long as the tab; with keep, until it is replaced.
export function setKey(value, keep) {
  key = value;
  try {
    sessionStorage.setItem(KEY, key);
    if (keep) localStorage.setItem(KEY, key);
    else localStorage.removeItem(KEY);
  } catch {
    // as above
  }
}

async function refusal(reply) {
  let message = `The server answered ${reply.status} ${reply.statusText}`.trim();
  try {
    message = (await reply.json()).error.message;
  } catch {
    // a proxy's page, or none: the status has to do
  }
  return new Refusal(message, reply.status, Number(reply.headers.get("Retry-After")) || 0);
}

async function request(path, body, signal) {
  const headers = {};
  const options = { headers, signal };
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body) {
    headers["Content-Type"] = "application/json";
    Object.assign(options, { method: "POST", body: JSON.stringify(body) });
  }
  let reply;
  try {
    reply = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("The server cannot be reached.");
  }
  if (!reply.ok) throw await refusal(reply);
  return reply;
}

// The model that the server has: /v1/models names one.
export async function model() {
  const { data } = await (await request("v1/models")).json();
  return data[0];
}

// Tokens that these messages are for the model.
export async function count(messages) {
  const body = { messages, add_generation_prompt: messages.at(-1).role === "user" };
  return (await (await request("tokenize", body)).json()).count;
}

async function* lines(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n");
      rest = parts.pop();
      yield* parts;
    }
  } finally {
    reader.cancel().catch(() => {}); // lets the server know when nobody reads on
  }
}

// The events of a streamed answer. Throws AbortError when the signal stops it.
export async function* ask(body, signal) {
  const reply = await request("v1/chat/completions", body, signal);
  try {
    for await (const line of lines(reply.body)) {
      if (!line.startsWith("data:")) continue; // comments keep the connection alive
      const data = line.slice(5).trim();
      if (data === "[DONE]") return;
      const event = JSON.parse(data);
      if (event.error) throw new Refusal(event.error.message);
      yield event;
    }
  } catch (error) {
    if (error.name === "AbortError" || error instanceof Refusal) throw error;
    throw new Refusal("The connection broke off.");
  }
  throw new Refusal("The answer broke off.");
}
