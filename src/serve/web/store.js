// Conversations, kept in the browser: each under a key of its own, so that two tabs do not overwrite each other's.
// {id, title, changed, settings, messages: [{role: "user" | "assistant", text, stats?}]}

const PREFIX = "accllm.conversation.";
const SETTINGS = "accllm.settings";

function usable() {
  try {
    localStorage.setItem("accllm.test", "1");
    localStorage.removeItem("accllm.test");
    return true;
  } catch {
    return false;
  }
}

// Where the browser keeps nothing, conversations live as long as the page.
const memory = new Map();
const kept = usable();
const storage = kept ? localStorage : {
  getItem: (name) => memory.get(name) ?? null,
  setItem: (name, value) => memory.set(name, value),
  removeItem: (name) => memory.delete(name),
};

function names() {
  return kept ? Object.keys(localStorage) : [...memory.keys()];
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function isMessage(m) {
  return (m?.role === "user" || m?.role === "assistant") && typeof m.text === "string";
}

// Null for what is not there or is no conversation.
export function load(id) {
  const c = parse(storage.getItem(PREFIX + id));
  const good = c?.id === id && typeof c.title === "string" && Array.isArray(c.messages) && c.messages.every(isMessage);
  return good ? { ...c, settings: c.settings ?? {}, changed: Number(c.changed) || 0 } : null;
}

// All of them, the one that changed last first.
export function list() {
  const ids = names().filter((name) => name.startsWith(PREFIX)).map((name) => name.slice(PREFIX.length));
  return ids.map(load).filter(Boolean).sort((a, b) => b.changed - a.changed);
}

// False when the browser has no room for it.
export function save(conversation) {
  const messages = conversation.messages.filter((m) => m.role === "user" || m.text);
  try {
    storage.setItem(PREFIX + conversation.id, JSON.stringify({ ...conversation, messages }));
    return true;
  } catch {
    return false;
  }
}

export function remove(id) {
  storage.removeItem(PREFIX + id);
}

// A new one is not kept before its first question. It begins with the settings that were used last.
export function create() {
  const random = crypto.getRandomValues(new Uint32Array(2));
  const id = Date.now().toString(36) + [...random].map((x) => x.toString(36)).join("");
  const settings = parse(storage.getItem(SETTINGS)) ?? {};
  return { id, title: "New conversation", changed: Date.now(), settings, messages: [] };
}

export function saveSettings(settings) {
  try {
    storage.setItem(SETTINGS, JSON.stringify(settings));
  } catch {
    // full: the conversation itself says so
  }
}

export function titleOf(question) {
  const line = question.trim().split("\n", 1)[0];
  return line.length > 48 ? `${line.slice(0, 47).trimEnd()}…` : line;
}

// Calls back when another tab has changed a conversation.
export function onChange(callback) {
  addEventListener("storage", (event) => {
    if (event.key === null || event.key.startsWith(PREFIX)) callback();
  });
}
