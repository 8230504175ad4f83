// What a turn did besides its reply: a small area above it that can be opened, with a line for each tool call.

import { element } from "./markdown.js";

const MARKS = { running: "…", done: "✓", failed: "✗" };
const WORDS = { running: "under way", done: "done", failed: "failed" };
const LONGEST_SUMMARY = 80;

export class Work {
  /** `load` fetches the entries of a turn that is over; it is called when somebody opens the area. */
  constructor({ load = null } = {}) {
    this.node = element("details", "work");
    this.summary = element("summary");
    this.list = element("ul");
    this.node.append(this.summary, this.list);
    this.load = load;
    this.entries = [];
    this.summary.textContent = "What was done";
    this.node.addEventListener("toggle", () => this.node.open && this.fetch());
  }

  /** Shows the entries; `isOver` says that nothing of it goes on any more. */
  show(entries, { isOver = false } = {}) {
    this.entries = entries;
    this.load = null;
    const summary = isOver ? past(entries) : present(entries);
    if (this.summary.textContent !== summary) this.summary.textContent = summary;
    const lines = entries.map((entry) => line(entry, isOver));
    // Lines that stay are left alone, so that a screen reader does not begin anew.
    lines.forEach((node, at) => {
      const known = this.list.children[at];
      if (!known) this.list.append(node);
      else if (known.className !== node.className || known.textContent !== node.textContent) known.replaceWith(node);
    });
    while (this.list.children.length > lines.length) this.list.lastElementChild.remove();
  }

  end() {
    if (this.entries.length) this.show(this.entries, { isOver: true });
  }

  async fetch() {
    if (!this.load) return;
    const load = this.load;
    this.load = null;
    try {
      this.show(await load(), { isOver: true });
    } catch {
      this.load = load;
      this.list.replaceChildren(element("li", "", "This could not be loaded. Close it and open it again."));
    }
  }
}

/** What goes on now, in a line. */
export function present(entries) {
  const last = entries.at(-1);
  if (!last) return "Working";
  if (last.kind === "thought") return "Thinking";
  const tool = entries.findLast((entry) => entry.kind === "tool");
  if (!tool) return "Working";
  const text = tool.detail ? `${tool.name}: ${tool.detail}` : tool.name;
  const cut = text.length > LONGEST_SUMMARY ? `${text.slice(0, LONGEST_SUMMARY - 1)}…` : text;
  return `Working · ${cut}`;
}

/** What was done, in a line. */
export function past(entries) {
  const calls = entries.reduce((sum, entry) => sum + (entry.kind === "tool" ? entry.count : 0), 0);
  if (!calls) return "Thought";
  return calls === 1 ? "Used a tool" : `Used tools ${calls} times`;
}

function line(entry, isOver) {
  if (entry.kind !== "tool") {
    const node = element("li", entry.kind);
    node.append(element("span", "visually-hidden", entry.kind === "said" ? "Said: " : "Thought: "), entry.text);
    return node;
  }
  const state = isOver && entry.state === "running" ? "failed" : entry.state;
  const node = element("li", `tool ${state}`);
  const mark = element("span", "mark", MARKS[state]);
  mark.ariaHidden = "true";
  node.append(mark, element("span", "name", entry.name));
  if (entry.detail) node.append(" ", element("span", "detail", entry.detail));
  if (entry.count > 1) node.append(" ", element("span", "count", `×${entry.count}`));
  node.append(element("span", "visually-hidden", `, ${WORDS[state]}`));
  return node;
}
