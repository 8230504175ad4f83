// The field a message is written in. Its text stays until the server has the message, and survives a reload.

import { newId } from "./attachments.js";

const SEND_MS = 20_000;

export class Composer {
  /** `onSent` gets the message as the server keeps it and the conversation's title; `signIn` is a link. */
  constructor({ form, field, button, problem, url, token, chat, maxChars, onSent, signIn }) {
    Object.assign(this, { form, field, button, problem, url, token, maxChars, onSent, signIn });
    this.storageKey = `hermes:draft:${chat}`;
    this.isSending = false;
    this.attachments = { files: [], isReady: () => true, references: () => [], clear() {} };
    const kept = this.load();
    this.pending = kept.pending ?? null; // the id under which this very text may have arrived already
    field.value ||= kept.text ?? ""; // what was typed while this script was fetched goes before
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    field.addEventListener("input", () => {
      this.save();
      this.fit();
      this.tell("");
    });
    field.addEventListener("keydown", (event) => {
      // Where the keyboard is on the screen, its Enter key makes a new line and the button sends.
      const isTouch = matchMedia("(pointer: coarse)").matches;
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || isTouch) return;
      event.preventDefault();
      this.send();
    });
    this.fit();
  }

  async send() {
    const text = this.field.value;
    const files = this.attachments.references();
    if (this.isSending || !(text.trim() || files.length)) return;
    if (!this.attachments.isReady()) {
      this.tell("A file is still on its way.");
      return;
    }
    if ([...text].length > this.maxChars) {
      const count = (number) => number.toLocaleString();
      this.tell(`That is ${count([...text].length)} characters; ${count(this.maxChars)} are allowed.`);
      return;
    }
    const isSame = this.pending?.text === text && String(this.pending.files ?? []) === String(files);
    if (!isSame) this.pending = { id: newId(), text, files };
    this.save();
    this.setSending(true);
    try {
      const { item, title } = await this.post(this.pending);
      this.arrived(item.client);
      this.onSent(item, title);
    } catch (error) {
      this.tell(error.message, error.link);
    } finally {
      this.setSending(false);
    }
  }

  /** The server has the message with this id: the field is free for the next one. */
  arrived(client) {
    if (this.pending?.id !== client) return;
    if (this.field.value === this.pending.text) this.field.value = "";
    if (String(this.pending.files ?? []) === String(this.attachments.references())) this.attachments.clear();
    this.pending = null;
    this.save();
    this.fit();
    this.tell("");
  }

  insert(text) {
    this.field.value = text;
    this.save();
    this.fit();
    this.field.focus();
  }

  async post(message) {
    let response;
    try {
      response = await fetch(this.url, {
        method: "POST",
        headers: { "Content-Type": "application/json", "X-CSRFToken": this.token },
        body: JSON.stringify(message),
        signal: AbortSignal.timeout(SEND_MS),
      });
    } catch {
      throw new Error("The gateway did not answer. Your message is still here; sending it again makes no double.");
    }
    let answer = {};
    try {
      answer = await response.json();
    } catch {
      // not from our own views
    }
    if (response.status === 202) return answer;
    const link = response.status === 401 ? this.signIn : null;
    if (answer.error) throw Object.assign(new Error(answer.error), { link });
    if (response.status === 403) throw new Error("This page is out of date. Reload it; your message stays here.");
    throw new Error(`The gateway had a problem (${response.status}). Your message is still here; try again soon.`);
  }

  setSending(isSending) {
    this.isSending = isSending;
    this.field.readOnly = isSending;
    this.form.ariaBusy = String(isSending);
    this.button.ariaLabel = isSending ? "Sending" : "Send";
    if (!isSending) this.field.focus();
  }

  tell(problem, link = null) {
    this.problem.hidden = !problem;
    this.problem.replaceChildren(problem, ...(link ? [" ", link] : []));
  }

  /** As high as its text, up to the limit in the style sheet. */
  fit() {
    this.field.style.height = "auto";
    this.field.style.height = `${this.field.scrollHeight}px`;
    this.button.disabled = !(this.field.value.trim() || this.attachments.files.length);
  }

  load() {
    try {
      return JSON.parse(localStorage.getItem(this.storageKey)) ?? {};
    } catch {
      return {};
    }
  }

  save() {
    try {
      if (this.field.value) {
        const kept = { text: this.field.value, pending: this.pending };
        localStorage.setItem(this.storageKey, JSON.stringify(kept));
      } else localStorage.removeItem(this.storageKey);
    } catch {
      // no storage: the draft lives as long as the page
    }
  }
}

/** Forgets what was being written, on a computer that others use too. */
export function forgetDrafts() {
  try {
    for (const key of Object.keys(localStorage)) if (key.startsWith("hermes:draft:")) localStorage.removeItem(key);
  } catch {
    // nothing was kept
  }
}
