// How full the context is, and how fast it fills.

const at = (id) => document.getElementById(id);
export const number = (x) => x.toLocaleString("en");

// What a text of so many tokens leaves in the context: {sinks, window, evicted, room}.
export function share(model, tokens) {
  const { sinks, window } = model.meta;
  if (window === null) return { sinks: 0, window: tokens, evicted: 0, room: model.max_model_len };
  const room = sinks + window;
  return {
    sinks: Math.min(tokens, sinks),
    window: Math.min(Math.max(tokens - sinks, 0), window),
    evicted: Math.max(tokens - room, 0),
    room,
  };
}

function describe(model, s) {
  const { sinks, window } = model.meta;
  if (window === null) return `Context ${number(s.window)} of ${number(s.room)} tokens`;
  const used = `Context ${number(s.sinks + s.window)} of ${number(s.room)} tokens`;
  const parts = `${number(sinks)} sinks + window of ${number(window)}`;
  return `${used} (${parts})${s.evicted ? `, ${number(s.evicted)} evicted` : ""}`;
}

export function showContext(model, tokens) {
  const s = share(model, tokens);
  const gauge = at("gauge");
  const text = describe(model, s);
  gauge.setAttribute("aria-valuemax", s.room);
  gauge.setAttribute("aria-valuenow", s.sinks + s.window);
  gauge.setAttribute("aria-valuetext", text);
  gauge.classList.toggle("full", s.evicted > 0);
  at("gauge-sinks").style.width = `${(100 * s.sinks) / s.room}%`;
  at("gauge-window").style.width = `${(100 * s.window) / s.room}%`;
  at("gauge-text").textContent = text;
}

export function showRate(rate) {
  at("rate").textContent = rate ? `${rate.toFixed(1)} token/s` : "";
}
