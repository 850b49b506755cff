// The web chat: what the user does, and what follows.

import * as api from "./api.js";
import { newRun, rate, write } from "./answer.js";
import { showContext, showRate } from "./gauge.js";
import { askForKey, closeDrawer, drawerIsOpen, initDrawer, notice, setDrawer } from "./panels.js";
import { initSettings, showDefaults, toRequest } from "./settings.js";
import { Speech } from "./speech.js";
import * as store from "./store.js";
import * as view from "./view.js";

const at = (id) => document.getElementById(id);
const touch = matchMedia("(pointer: coarse)");
const SAVE_EVERY = 2000; // milliseconds, while an answer is written
const runs = new Map(); // answers that are being written, by conversation
const failures = new Map(); // how a conversation's last answer ended, if badly
const speech = new Speech(at("spoken"));
let model = null;
let current = store.create();
let full = false; // the browser's storage
let contextTurn = 0;

function keep(conversation) {
  const run = runs.get(conversation.id);
  const messages = run ? [...conversation.messages, run.message] : conversation.messages;
  const saved = store.save({ ...conversation, messages });
  if (!saved) notice("The browser has no room for this conversation: delete others to keep it.");
  else if (full) notice(null);
  full = !saved;
}

function find(id) {
  if (id === current.id) return current;
  return runs.get(id)?.conversation ?? store.load(id);
}

// Drawing

function extraNodes() {
  const run = runs.get(current.id);
  if (run) return run.waitNode ? [run.waitNode] : [run.view.node];
  const unanswered = current.messages.at(-1)?.role === "user" ? "This question has no answer." : null;
  const failure = failures.get(current.id) ?? unanswered;
  return failure ? [view.problemNode(failure, () => answer(current))] : [];
}

function drawList() {
  view.showConversations(store.list(), current.id, { open: openConversation, rename, remove });
}

function drawComposer() {
  const run = runs.get(current.id);
  const held = document.activeElement === (run ? at("send") : at("stop"));
  at("send").hidden = run !== undefined;
  at("stop").hidden = run === undefined;
  at("send").disabled = model === null || !model.meta.chat;
  if (held && !touch.matches) at("question").focus();
  showRate(run ? rate(run) : current.messages.at(-1)?.stats?.rate);
}

function draw() {
  view.following(() => view.showMessages(current, model, regenerate, extraNodes()));
  drawList();
  drawComposer();
  void drawContext();
}

// The server said how long the text is, or is asked; what it says too late is not shown.
async function drawContext() {
  if (!model) return;
  const turn = ++contextTurn;
  const { messages } = toRequest(current);
  const run = runs.get(current.id);
  const known = messages.length ? current.messages.at(-1)?.stats?.total : 0;
  if (run?.prompt) showContext(model, run.prompt + run.pieces);
  else if (known !== undefined) showContext(model, known);
  else {
    const tokens = await api.count(messages).catch(() => null);
    if (tokens === null) return;
    if (run) run.prompt = tokens;
    if (turn === contextTurn) showContext(model, tokens + (run?.pieces ?? 0));
  }
}

// Answers

function onPiece(run, piece) {
  if (performance.now() - run.saved > SAVE_EVERY) {
    run.saved = performance.now();
    keep(run.conversation);
  }
  run.view.append(piece);
  if (run.conversation !== current) return;
  speech.append(piece);
  showRate(rate(run));
  if (run.prompt) showContext(model, run.prompt + run.pieces);
}

function onWait(run, why, seconds) {
  const text = why && `The server is busy (${why}). Trying again in ${seconds} s.`;
  run.waitNode = why ? view.problemNode(text, () => run.go(), run.stop) : null;
  if (run.conversation === current) draw();
}

function begin(conversation) {
  const run = Object.assign(newRun(), { conversation, view: view.writingNode(), saved: performance.now() });
  run.onPiece = (piece) => onPiece(run, piece);
  run.onWait = (why, seconds) => onWait(run, why, seconds);
  runs.set(conversation.id, run);
  failures.delete(conversation.id);
  speech.begin();
  return run;
}

function end(run, failure) {
  const { conversation, message } = run;
  run.view.draw();
  runs.delete(conversation.id);
  if (message.text) conversation.messages.push(message);
  conversation.changed = Date.now();
  if (failure) failures.set(conversation.id, failure.message);
  if (store.load(conversation.id)) keep(conversation); // it may have been deleted meanwhile
  if (conversation === current) {
    speech.end(message.stats.reason === "stopped" ? "Stopped" : "");
    draw();
  }
}

// Writes the answer to the conversation's last question, in place of one that is there.
async function answer(conversation) {
  if (runs.has(conversation.id)) return;
  if (conversation.messages.at(-1)?.role === "assistant") conversation.messages.pop();
  const run = begin(conversation);
  draw();
  view.scrollToEnd();
  const failure = await write(run, conversation);
  end(run, failure);
  if (failure?.status === 401 && await askForKey(failure.message)) await answer(conversation);
}

function regenerate() {
  at("question").focus({ preventScroll: true });
  void answer(current);
}

function send(event) {
  event.preventDefault();
  const text = at("question").value.trim();
  if (!text || at("send").disabled || runs.has(current.id)) return;
  if (!current.messages.length) current.title = store.titleOf(text);
  current.messages.push({ role: "user", text });
  current.changed = Date.now();
  keep(current);
  at("question").value = "";
  fitQuestion();
  remember(current.id);
  void answer(current);
}

// Conversations

// The address names the conversation, so that reloading finds it.
function remember(id) {
  history.replaceState(null, "", id ? `#${id}` : location.pathname + location.search);
}

function openConversation(id) {
  current = find(id) ?? store.create();
  remember(store.load(current.id) ? current.id : null);
  closeDrawer();
  draw();
  view.scrollToEnd();
  if (!touch.matches) at("question").focus();
}

function startNew() {
  openConversation(null);
}

function rename(id, title) {
  const conversation = find(id);
  if (conversation) {
    conversation.title = title;
    keep(conversation);
  }
  draw();
  view.focusConversation(id);
}

function remove(id) {
  const conversation = find(id);
  if (!conversation || !confirm(`Delete “${conversation.title}”?`)) return;
  store.remove(id);
  runs.get(id)?.stop();
  failures.delete(id);
  if (id === current.id) current = store.create();
  remember(store.load(current.id) ? current.id : null);
  draw();
  view.focusConversation(current.id);
}

// Another tab has written: this one's conversation is read again, unless it is being written here.
function onOtherTab() {
  if (!runs.has(current.id)) current = store.load(current.id) ?? current;
  draw();
}

// Keys, sizes, start

function fitQuestion() {
  const field = at("question");
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight}px`;
}

// On a keyboard Enter sends; on glass it is a new line, as there is no Shift+Enter.
function onQuestionKey(event) {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing && !touch.matches) send(event);
}

function onKey(event) {
  if (event.key !== "Escape" || document.querySelector("dialog[open]")) return;
  if (drawerIsOpen()) closeDrawer();
  else runs.get(current.id)?.stop();
}

function listen() {
  at("composer").addEventListener("submit", send);
  at("question").addEventListener("input", fitQuestion);
  at("question").addEventListener("keydown", onQuestionKey);
  at("stop").addEventListener("click", () => runs.get(current.id)?.stop());
  at("new").addEventListener("click", startNew);
  at("skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address belongs to the conversation
    at("question").focus();
  });
  addEventListener("keydown", onKey);
  addEventListener("pagehide", () => runs.forEach((run) => keep(run.conversation)));
  store.onChange(onOtherTab);
  initSettings(() => current.settings, (settings) => {
    current.settings = settings;
    store.saveSettings(settings);
    if (current.messages.length) keep(current);
    void drawContext();
  });
}

async function connect() {
  notice(null);
  try {
    model = await api.model();
  } catch (error) {
    if (error.status === 401 && await askForKey(error.message)) return connect();
    return notice(error.message, connect);
  }
  at("model").textContent = model.id;
  showDefaults(model);
  if (!model.meta.chat)
    notice("This model has no chat template that the server knows: it completes texts, but cannot chat.");
  return draw();
}

initDrawer();
listen();
setDrawer(false);
openConversation(location.hash.slice(1));
void connect();
