// The list of messages: in the order they came, each once, the unfinished reply last.

import { fileNodes } from "./attachments.js";
import { element, render } from "./markdown.js";
import { showQuestion } from "./questions.js";
import { Work } from "./work.js";

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long", year: "numeric" });
const STATES = {
  waiting: "Queued",
  running: "Being answered",
  done: "Answered",
  refused: "Not taken",
  rejected: "Could not be read",
  dead: "Given up",
  discarded: "Discarded by an operator",
};
const OPEN = new Set(["waiting", "running"]);
const SAFE = "Waiting for a worker. Your message is safe and will be answered.";
const WORDLESS_MS = 1_500;
const PATIENCE_MS = 10_000;
const NEAR_END_PX = 120;

export class Thread {
  /** `list` is the `<ol>`, `scroller` what scrolls around it, `jump` the button that leads to the end; `press` takes
   * the value of a question's button, `loadWork` gets what a turn did, `base` begins the addresses of files. */
  constructor({ list, scroller, jump, empty, announce, press, loadWork, base }) {
    Object.assign(this, { list, scroller, jump, empty, announce, press, loadWork, base });
    this.items = new Map();
    this.asked = new Map();
    this.isAsking = false;
    this.running = 0;
    this.draft = { turn: 0, text: "" };
    this.draftNode = null;
    this.draftWork = null;
    this.waitsSince = 0;
    this.isFollowing = true;
    scroller.addEventListener("scroll", () => this.noteScroll(), { passive: true });
    jump.addEventListener("click", () => this.follow());
    new ResizeObserver(() => this.isFollowing && this.toEnd()).observe(list);
    setInterval(() => this.showActivity(), 1_000);
  }

  /** Shows messages of the database and which turn is running; what is shown already is brought up to date. */
  update({ items, running, asked }, { isSilent = false } = {}) {
    for (const question of asked ?? []) this.asked.set(question.item, question);
    this.isAsking = [...this.asked.values()].some(({ state }) => state === "pending");
    for (const item of items) this.put(item, isSilent);
    for (const question of asked ?? []) this.showAsked(question.item);
    if (asked) for (const { item, node } of this.items.values()) if (OPEN.has(item.state)) this.showState(node, item);
    if (running !== undefined) this.running = running;
    if (this.draft.turn && this.draft.turn !== this.running) this.dropDraft();
    this.showActivity();
    if (items.some((item) => item.from === "you") && !isSilent) this.follow();
  }

  /** Shows earlier messages above, and stays where the reader is. */
  prepend(items) {
    const height = this.scroller.scrollHeight;
    this.isFollowing = false;
    for (const item of items) this.put(item, true);
    this.scroller.scrollTop += this.scroller.scrollHeight - height;
  }

  /** Shows the reply that is being written: `text` is all of it, `more` what comes after what is known. */
  partial({ turn, text, more }) {
    this.draftOf(turn).text = text ?? this.draft.text + more;
    this.running = turn;
    if (!this.frame) this.frame = requestAnimationFrame(() => this.drawDraft());
  }

  /** Shows what the turn has done so far. */
  work({ turn, entries }) {
    this.draftOf(turn);
    this.running = turn;
    if (!this.draftWork) {
      this.draftWork = new Work();
      this.announce("Hermes is working on it");
    }
    this.draftWork.show(entries);
    if (!this.frame) this.frame = requestAnimationFrame(() => this.drawDraft());
  }

  draftOf(turn) {
    if (this.draft.turn !== turn) {
      this.dropDraft();
      this.draft = { turn, text: "" };
    }
    return this.draft;
  }

  isWaiting() {
    return this.running > 0 || [...this.items.values()].some(({ item }) => OPEN.has(item.state));
  }

  has(client) {
    return [...this.items.values()].some(({ item }) => item.client === client);
  }

  put(item, isSilent) {
    const known = this.items.get(item.id);
    if (known) {
      known.item = item;
      if (item.from === "you") this.showState(known.node, item);
      return;
    }
    const isDrafted = item.is_reply && item.turn === this.draft.turn && this.draftNode;
    const node = isDrafted ? this.draftNode : this.messageNode(item.from);
    if (isDrafted) {
      this.draftWork?.end();
      this.draftNode = this.draftWork = null;
      this.draft = { turn: 0, text: "" };
    }
    this.fill(node, item);
    if (item.has_work && !node.querySelector("details.work")) {
      node.querySelector(".body").before(new Work({ load: () => this.loadWork(item.turn) }).node);
    }
    this.items.set(item.id, { item, node });
    this.place(node, item);
    this.showAsked(item.id);
    this.empty.hidden = true;
    if (item.from === "agent" && !isSilent) this.announce(`Hermes: ${item.text || item.files.map((file) => file.name).join(", ")}`);
  }

  showAsked(id) {
    const [found, question] = [this.items.get(id), this.asked.get(id)];
    if (found && question) showQuestion(found.node, question, this.press);
  }

  messageNode(from) {
    const node = element("li", `message ${from}`);
    node.append(element("h2", "visually-hidden"), element("div", "body"), element("footer"));
    node.querySelector(".body").dir = "auto";
    return node;
  }

  fill(node, item) {
    const at = new Date(item.at);
    node.className = `message ${item.from}${item.is_failure ? " failure" : ""}`;
    node.removeAttribute("aria-busy");
    node.querySelector("h2").textContent = `${item.from === "you" ? "You" : "Hermes"}, ${TIME.format(at)}`;
    const body = node.querySelector(".body");
    if (item.from === "you") body.textContent = item.text;
    else body.replaceChildren(render(item.text));
    const files = item.files ?? [];
    if (files.length) body.append(...fileNodes(files, this.base));
    node.classList.toggle("with-files", files.length > 0);
    const time = element("time", "", TIME.format(at));
    time.dateTime = item.at;
    time.title = at.toLocaleString();
    const footer = node.querySelector("footer");
    footer.replaceChildren(time);
    if (item.from === "you") this.showState(node, item);
    else if (item.text) addCopyButtons(node, item.text, this.announce);
  }

  showState(node, item) {
    const footer = node.querySelector("footer");
    footer.querySelector(".state")?.remove();
    let text = item.state === "waiting" && this.running === 0 ? "Accepted" : (STATES[item.state] ?? item.state);
    if (item.state === "running" && this.isAsking) text = "Waits for you";
    footer.append(element("span", `state ${item.state}`, text));
  }

  /** Puts the message where its moment belongs; most belong at the end. */
  place(node, item) {
    const rank = key(item);
    let before = null;
    for (let other = this.list.lastElementChild; other; other = other.previousElementSibling) {
      if (other === node || other.classList.contains("day")) continue;
      if (!other.dataset.key) before = other;
      else if (other.dataset.key > rank) before = other;
      else break;
    }
    node.dataset.key = rank;
    node.dataset.day = new Date(item.at).toDateString();
    if (before?.previousElementSibling !== node) this.list.insertBefore(node, before);
    this.separateDays();
  }

  separateDays() {
    let day = "";
    for (const node of [...this.list.children]) {
      if (node.classList.contains("day")) {
        const next = node.nextElementSibling;
        if (next?.dataset.day !== node.dataset.of || node.dataset.of === day) node.remove();
        else day = node.dataset.of;
      } else if (node.dataset.day && node.dataset.day !== day) {
        day = node.dataset.day;
        const separator = element("li", "day", DAY.format(new Date(day)));
        separator.dataset.of = day;
        this.list.insertBefore(separator, node);
      }
    }
  }

  drawDraft() {
    this.frame = 0;
    if (!this.draft.turn) return;
    if (!this.draftNode) {
      this.draftNode = this.messageNode("agent");
      this.draftNode.querySelector("h2").textContent = "Hermes is writing";
    }
    this.draftNode.className = "message agent draft";
    this.draftNode.setAttribute("aria-busy", "true");
    const body = this.draftNode.querySelector(".body");
    body.replaceChildren(render(this.draft.text));
    if (this.draftWork && !this.draftWork.node.isConnected) body.before(this.draftWork.node);
    if (!this.draftNode.isConnected) this.list.append(this.draftNode);
    this.showActivity();
  }

  dropDraft() {
    this.draftNode?.remove();
    this.draftNode = this.draftWork = null;
    this.draft = { turn: 0, text: "" };
  }

  /** The sign that an answer is due: three dots, with words where it takes long. */
  showActivity() {
    const isDue = this.isWaiting() && !this.draft.text && !this.isAsking;
    if (!isDue) {
      this.activity?.remove();
      this.activity = null;
      this.waitsSince = 0;
      return;
    }
    this.waitsSince ||= Date.now();
    if (!this.activity) {
      this.activity = element("li", "activity");
      const dots = element("span", "dots");
      dots.ariaHidden = "true";
      dots.append(element("span"), element("span"), element("span"));
      this.activity.append(dots, element("span", "words"));
    }
    if (!this.activity.isConnected || this.activity.nextElementSibling) this.list.append(this.activity);
    const waited = Date.now() - this.waitsSince;
    const [soon, late] = this.running ? ["Thinking…", "Still thinking…"] : ["Waiting…", SAFE];
    const words = waited > PATIENCE_MS ? late : waited > WORDLESS_MS ? soon : "";
    const place = this.activity.querySelector(".words");
    if (place.textContent !== words) place.textContent = words;
  }

  noteScroll() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    this.isFollowing = scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
    this.jump.hidden = this.isFollowing;
  }

  follow() {
    this.isFollowing = true;
    this.toEnd();
  }

  toEnd() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.jump.hidden = true;
  }
}

/** Sorts as the server does: by moment, at one moment the question before its answer, then by place. */
function key(item) {
  return `${item.at} ${item.from === "agent" ? 1 : 0} ${String(item.seq).padStart(12, "0")}`;
}

function addCopyButtons(node, text, announce) {
  if (!navigator.clipboard) return; // only on HTTPS and on this machine
  const button = (label, content) => {
    const made = element("button", "copy", label);
    made.type = "button";
    made.addEventListener("click", async () => {
      await navigator.clipboard.writeText(content());
      made.textContent = "Copied";
      announce("Copied");
      setTimeout(() => (made.textContent = label), 1_500);
    });
    return made;
  };
  node.querySelector("footer").append(button("Copy", () => text));
  for (const figure of node.querySelectorAll("figure.code")) {
    const code = figure.querySelector("code");
    figure.querySelector("figcaption").append(button("Copy", () => code.textContent));
  }
}
