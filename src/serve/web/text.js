// An answer's text as nodes: paragraphs, code blocks, inline code, bold. Text goes in as text alone; no string ever
// becomes markup.

export function element(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

const FENCE = /^ {0,3}```([^\n`]*)\n/;
const FENCE_END = /(?:^|\n) {0,3}```[ \t]*(?=\n|$)/;
const PARAGRAPH_END = /\n\s*\n|\n(?= {0,3}```)/;
const INLINE = /(`[^`\n]+`|\*\*[^*\n]+\*\*)/;

// The first block of source: {code, text, rest}. rest is null while the block may still grow.
export function firstBlock(source) {
  const fence = FENCE.exec(source);
  const body = fence ? source.slice(fence[0].length) : source;
  const end = (fence ? FENCE_END : PARAGRAPH_END).exec(body);
  return {
    code: fence !== null,
    text: end ? body.slice(0, end.index) : body,
    rest: end ? body.slice(end.index + end[0].length) : null,
  };
}

function inline(text) {
  return text.split(INLINE).filter(Boolean).map((part) => {
    if (!INLINE.test(part)) return part;
    return part[0] === "`" ? element("code", {}, part.slice(1, -1)) : element("strong", {}, part.slice(2, -2));
  });
}

function blockNode(block) {
  if (!block.code) return element("p", {}, ...inline(block.text));
  const pre = element("pre", { tabIndex: 0 }, element("code", {}, block.text));
  pre.setAttribute("aria-label", "Code");
  return pre;
}

// Grows with its text: blocks that are complete are left alone, only the last one is made again.
export class Prose {
  // around(change): runs change(), which changes the page
  constructor(parent, around = (change) => change()) {
    this.parent = parent;
    this.around = around;
    this.source = ""; // of the blocks that are not complete
    this.open = null; // the last block's node
    this.frame = 0;
  }

  append(text) {
    this.source += text;
    this.frame ||= requestAnimationFrame(() => this.draw());
    return this;
  }

  // Shows all there is: once per frame in which text came, and at the end.
  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.around(() => this.drawBlocks());
  }

  drawBlocks() {
    for (;;) {
      if (!this.open) this.source = this.source.replace(/^(?:[ \t]*\n)+/, "");
      if (!this.source) return;
      const block = firstBlock(this.source);
      const node = blockNode(block);
      if (this.open) this.open.replaceWith(node);
      else this.parent.append(node);
      this.open = block.rest === null ? node : null;
      if (block.rest === null) return;
      this.source = block.rest;
    }
  }
}
