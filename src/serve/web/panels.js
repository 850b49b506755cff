// What lies beside and above the messages: the list as a drawer on narrow screens, the dialogue for the key, a notice.

import { setKey } from "./api.js";
import { element } from "./text.js";

const at = (id) => document.getElementById(id);
const narrow = matchMedia("(max-width: 760px)");

// On a narrow screen the list lies over the page, which then takes no input.
export function setDrawer(open) {
  const over = open && narrow.matches;
  at("side").classList.toggle("open", over);
  at("side").inert = narrow.matches && !open;
  document.querySelector("main").inert = over;
  at("scrim").hidden = !over;
  at("open-side").setAttribute("aria-expanded", String(over));
  if (over) at("close-side").focus();
}

export function drawerIsOpen() {
  return at("side").classList.contains("open");
}

export function closeDrawer() {
  if (!drawerIsOpen()) return;
  setDrawer(false);
  at("open-side").focus();
}

export function initDrawer() {
  at("open-side").addEventListener("click", () => setDrawer(true));
  at("close-side").addEventListener("click", closeDrawer);
  at("scrim").addEventListener("click", closeDrawer);
  narrow.addEventListener("change", () => setDrawer(false));
  setDrawer(false);
}

// Asks for the key; true: there is a new one to try.
export function askForKey(why) {
  const dialog = at("key");
  const form = at("key-form");
  let given = false;
  at("key-why").textContent = why;
  at("cancel-key").onclick = () => dialog.close();
  form.onsubmit = (event) => {
    event.preventDefault();
    setKey(at("key-value").value, at("key-keep").checked);
    form.reset();
    given = true;
    dialog.close();
  };
  if (!dialog.open) dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(given), { once: true }));
}

// Null takes the notice away.
export function notice(text, retry) {
  const box = at("notice");
  box.hidden = !text;
  box.replaceChildren(element("p", { textContent: text ?? "" }));
  if (!retry) return;
  box.append(element("button", { type: "button", className: "plain", textContent: "Try again", onclick: retry }));
}
