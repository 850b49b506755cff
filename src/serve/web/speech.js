// Tells screen readers of an answer: whole sentences, politely, since single words would be read as noise.

import { element } from "./text.js";

const SENTENCES = /^[\s\S]*(?:[.!?…:](?=\s)|\n)/;

export class Speech {
  constructor(region) {
    this.region = region;
    this.rest = "";
  }

  begin() {
    this.region.replaceChildren();
    this.rest = "";
    this.say("Answering");
  }

  append(text) {
    this.rest += text;
    const whole = SENTENCES.exec(this.rest);
    if (!whole) return;
    this.rest = this.rest.slice(whole[0].length);
    this.say(whole[0]);
  }

  end(how) {
    this.say(this.rest);
    this.rest = "";
    this.say(how);
  }

  say(text) {
    if (text.trim()) this.region.append(element("p", {}, text.trim()));
  }
}
