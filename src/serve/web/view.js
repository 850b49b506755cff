// The list of conversations and the messages of one.

import { number } from "./gauge.js";
import { element, Prose } from "./text.js";

const at = (id) => document.getElementById(id);
const NEAR_END = 80; // pixels from the end of the log within which it follows what is written

function button(label, onclick, properties = {}) {
  return element("button", { type: "button", className: "plain", textContent: label, onclick, ...properties });
}

// Runs change(); a reader who was at the end stays there.
export function following(change) {
  const log = at("log");
  const near = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_END;
  change();
  if (near) log.scrollTop = log.scrollHeight;
}

export function scrollToEnd() {
  at("log").scrollTop = at("log").scrollHeight;
}

// stats: none when the page was left before the answer's end.
function note({ tokens, rate, wait, reason } = { reason: "failed" }) {
  const parts = [];
  if (tokens !== undefined) parts.push(`${number(tokens)} ${tokens === 1 ? "token" : "tokens"}`);
  if (rate) parts.push(`${rate.toFixed(1)}/s`);
  if (wait !== undefined) parts.push(`first after ${wait.toFixed(1)} s`);
  if (reason === "length") parts.push("cut at its greatest length");
  if (reason === "stopped") parts.push("stopped");
  if (reason === "failed") parts.push("not finished");
  return parts.join(" · ");
}

function copyButton(message) {
  if (!navigator.clipboard) return []; // a page without TLS that is not of this machine
  return [button("Copy", async (event) => {
    const { target } = event;
    await navigator.clipboard.writeText(message.text).catch(() => {});
    target.textContent = "Copied";
    setTimeout(() => { target.textContent = "Copy"; }, 1500);
  })];
}

function messageNode(message, actions) {
  const mine = message.role === "user";
  const text = element("div", { className: "text", dir: "auto" });
  const node = element("article", { className: `message ${message.role}` },
    element("h2", { className: "unseen", textContent: mine ? "You" : "Answer" }), text);
  if (mine) {
    text.textContent = message.text;
    return node;
  }
  new Prose(text).append(message.text).draw();
  node.append(element("footer", {}, element("span", { className: "quiet", textContent: note(message.stats) }),
    ...copyButton(message), ...actions));
  return node;
}

// An answer that is being written: append(piece), draw().
export function writingNode() {
  const text = element("div", { className: "text", dir: "auto" });
  const waiting = element("p", { className: "waiting", textContent: "…" });
  waiting.setAttribute("aria-hidden", "true");
  const node = element("article", { className: "message assistant writing" },
    element("h2", { className: "unseen", textContent: "Answer" }), waiting, text);
  const prose = new Prose(text, following);
  return {
    node,
    append(piece) {
      waiting.remove();
      prose.append(piece);
    },
    draw: () => prose.draw(),
  };
}

// retry: null, or what "Try again" does; cancel: null, or what ends the wait for another try.
export function problemNode(text, retry, cancel) {
  const node = element("div", { className: "problem" }, element("p", { textContent: text }));
  node.setAttribute("role", "alert");
  if (retry) node.append(button(cancel ? "Try now" : "Try again", retry));
  if (cancel) node.append(button("Cancel", cancel));
  return node;
}

function welcome(model) {
  const about = model && [`${number(Math.round(model.meta.n_params / 1e6))} million parameters`,
    `${model.meta.bits_per_weight.toFixed(2)} bits per weight`,
    model.meta.window === null ? `a context of ${number(model.max_model_len)} tokens` : "text without end"].join(", ");
  return element("div", { className: "welcome" },
    element("p", { className: "lead", textContent: model ? model.id : "Waiting for the server" }),
    element("p", { className: "quiet", textContent: about || "" }));
}

// extra: nodes behind the messages: an answer that is being written, a problem.
export function showMessages(conversation, model, regenerate, extra) {
  const last = conversation.messages.length - 1;
  const nodes = conversation.messages.map((message, i) =>
    messageNode(message, i === last && !extra.length ? [button("Regenerate", regenerate)] : []));
  at("messages").replaceChildren(...(nodes.length + extra.length ? nodes : [welcome(model)]), ...extra);
  at("title").textContent = conversation.title;
  document.title = `${conversation.title} · AccLLM`;
}

// The title becomes a field; Enter or leaving it keeps the new one, Escape the old.
function editTitle(item, conversation, rename) {
  const field = element("input", { value: conversation.title, maxLength: 120, className: "rename" });
  field.setAttribute("aria-label", "Title of the conversation");
  let done = false;
  const end = (title) => {
    if (done) return;
    done = true;
    rename(conversation.id, title);
  };
  field.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key !== "Enter" && event.key !== "Escape") return;
    event.stopPropagation();
    event.preventDefault(); // the key would press the button that has the focus next
    end(event.key === "Enter" && field.value.trim() ? field.value.trim() : conversation.title);
  });
  field.addEventListener("blur", () => end(field.value.trim() || conversation.title));
  item.replaceChildren(field);
  field.select();
}

function conversationItem(conversation, current, { open, rename, remove }) {
  const title = button(conversation.title, () => open(conversation.id), { className: "plain open" });
  if (current) title.setAttribute("aria-current", "true");
  title.dataset.id = conversation.id;
  const item = element("li", {}, title);
  const more = [["Rename", () => editTitle(item, conversation, rename)], ["Delete", () => remove(conversation.id)]];
  for (const [label, act] of more) {
    const b = button(label, act, { className: "plain small" });
    b.setAttribute("aria-label", `${label} ${conversation.title}`);
    item.append(b);
  }
  return item;
}

export function showConversations(list, currentId, actions) {
  at("no-conversations").hidden = list.length > 0;
  at("conversations").replaceChildren(...list.map((c) => conversationItem(c, c.id === currentId, actions)));
}

export function focusConversation(id) {
  const title = [...document.querySelectorAll("#conversations .open")].find((b) => b.dataset.id === id);
  (title ?? at("new")).focus();
}
