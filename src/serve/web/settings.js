// The dialogue with a conversation's system prompt and sampling settings.

import { element } from "./text.js";

const at = (id) => document.getElementById(id);
const FIELDS = [
  { name: "temperature", label: "Temperature", min: 0, max: 100, step: "any" },
  { name: "top_p", label: "Top p", min: 0, max: 1, step: "any" },
  { name: "top_k", label: "Top k", min: 0, max: 2147483647, step: 1 },
  { name: "min_p", label: "Min p", min: 0, max: 1, step: "any" },
  { name: "repetition_penalty", label: "Repetition penalty", min: 0.001, max: 1000, step: "any" },
  { name: "max_tokens", label: "Max tokens", min: 1, max: Number.MAX_SAFE_INTEGER, step: 1 },
  { name: "seed", label: "Seed", min: 0, max: Number.MAX_SAFE_INTEGER, step: 1 },
];

function input(name) {
  return at(`set-${name}`);
}

function makeFields() {
  at("fields").replaceChildren(...FIELDS.map(({ name, label, ...limits }) => {
    const field = element("input", { id: `set-${name}`, type: "number", inputMode: "decimal", ...limits });
    return element("label", { className: "field" }, label, field);
  }));
}

function fill(settings) {
  at("system").value = settings.system ?? "";
  at("endless").checked = settings.ignore_eos === true;
  for (const { name } of FIELDS) input(name).value = settings[name] ?? "";
}

function read() {
  const settings = {};
  if (at("system").value.trim()) settings.system = at("system").value;
  if (at("endless").checked) settings.ignore_eos = true;
  for (const { name } of FIELDS) if (input(name).value !== "") settings[name] = input(name).valueAsNumber;
  return settings;
}

// What the server takes where nothing is set.
export function showDefaults(model) {
  for (const { name } of FIELDS) input(name).placeholder = model.meta.sampling[name] ?? "random";
}

// get(): the settings to show; set(settings): those that were saved.
export function initSettings(get, set) {
  const dialog = at("settings");
  makeFields();
  at("open-settings").addEventListener("click", () => {
    fill(get());
    dialog.showModal();
  });
  at("clear-settings").addEventListener("click", () => fill({}));
  at("cancel-settings").addEventListener("click", () => dialog.close());
  at("settings-form").addEventListener("submit", (event) => {
    event.preventDefault();
    set(read());
    dialog.close();
  });
}

// A request's fields; the system prompt comes first among the messages. Text without end is not to end at the server's
// usual length.
export function toRequest({ settings, messages }) {
  const { system, ...sampling } = settings;
  const sent = messages.filter((m) => m.text).map((m) => ({ role: m.role, content: m.text }));
  if (system) sent.unshift({ role: "system", content: system });
  if (sampling.ignore_eos) sampling.max_tokens ??= Number.MAX_SAFE_INTEGER;
  return { messages: sent, ...sampling };
}
