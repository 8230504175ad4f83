// Files for the message that is being written: chosen, dropped or pasted, and uploaded at once.

import { element } from "./markdown.js";

export class Attachments {
  /** `changed` is called whenever `isReady()` or `references()` may have changed, `tell` with what went wrong. */
  constructor({ list, input, button, area, base, token, ticket, maxBytes, maxFiles, changed, tell }) {
    Object.assign(this, { list, input, base, token, ticket, maxBytes, maxFiles, changed, tell });
    this.files = [];
    button.addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      this.add(input.files);
      input.value = "";
    });
    area.addEventListener("paste", (event) => {
      if (!event.clipboardData?.files.length) return;
      event.preventDefault();
      this.add(event.clipboardData.files);
    });
    const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
    for (const type of ["dragenter", "dragover"]) {
      document.addEventListener(type, (event) => {
        if (!hasFiles(event)) return;
        event.preventDefault();
        document.body.classList.add("dropping");
      });
    }
    document.addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) document.body.classList.remove("dropping");
    });
    document.addEventListener("drop", (event) => {
      document.body.classList.remove("dropping");
      if (!hasFiles(event)) return;
      event.preventDefault();
      this.add(event.dataTransfer.files);
    });
  }

  /** Whether no upload is under way, and none has failed. */
  isReady() {
    return this.files.every((file) => file.reference);
  }

  references() {
    return this.files.map((file) => file.reference);
  }

  clear() {
    for (const file of [...this.files]) this.remove(file);
  }

  add(files) {
    for (const blob of files) {
      if (this.files.length >= this.maxFiles) {
        this.tell(`A message may have ${this.maxFiles} files at most.`);
        break;
      }
      if (blob.size > this.maxBytes) {
        const most = Math.floor(this.maxBytes / 1024 / 1024);
        this.tell(`“${blob.name}” is too large: ${most} MB are allowed.`);
      } else if (!blob.size) this.tell(`“${blob.name}” is empty.`);
      else this.upload(blob);
    }
  }

  upload(blob) {
    const file = { name: blob.name || "file", reference: "" };
    file.node = element("li", "attachment");
    file.bar = element("progress");
    file.bar.max = 1;
    file.bar.ariaLabel = `Uploading ${file.name}`;
    const remove = element("button", "icon", "×");
    remove.type = "button";
    remove.ariaLabel = `Remove ${file.name}`;
    remove.addEventListener("click", () => this.remove(file));
    file.node.append(element("span", "name", file.name), file.bar, remove);
    this.list.append(file.node);
    this.files.push(file);
    this.tell("");
    this.changed();
    const request = new XMLHttpRequest(); // which says how far an upload is; fetch() does not
    file.request = request;
    const query = new URLSearchParams({ name: file.name });
    request.open("POST", `${this.base}upload/${newId()}?${query}`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.setRequestHeader("X-CSRFToken", this.token);
    request.setRequestHeader("X-Upload-Ticket", this.ticket);
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) file.bar.value = event.loaded / event.total;
    });
    request.addEventListener("load", () => this.loaded(file));
    request.addEventListener("error", () => this.failed(file, "The gateway did not answer. Please attach it again."));
    request.send(blob);
  }

  loaded(file) {
    let answer = {};
    try {
      answer = JSON.parse(file.request.responseText);
    } catch {
      // not from our own views
    }
    if (file.request.status !== 201) {
      const late = file.request.status === 413 ? "It is too large, or this page is out of date." : "";
      this.failed(file, answer.error ?? (late || `The gateway had a problem (${file.request.status}).`));
      return;
    }
    file.reference = answer.file.id;
    file.bar.remove();
    file.node.classList.add("ready");
    this.changed();
  }

  failed(file, reason) {
    this.remove(file);
    this.tell(`“${file.name}” was not attached. ${reason}`);
  }

  remove(file) {
    if (!file.reference) file.request?.abort();
    file.node.remove();
    this.files = this.files.filter((each) => each !== file);
    this.changed();
  }
}

/** The files of a message, as they are shown in it. */
export function fileNodes(files, base) {
  return files.map((file) => {
    const address = `${base}media/${file.id}`;
    const link = element("a", "file", `${file.name} (${file.size})`);
    link.href = address;
    if (file.kind === "image") {
      const image = element("img", "media");
      image.alt = file.name;
      image.loading = "lazy";
      image.src = address;
      link.replaceChildren(image);
      link.className = "picture";
      link.target = "_blank";
      link.rel = "noopener";
      image.addEventListener("error", () => link.replaceWith(element("span", "file", `${file.name}: not kept any more`)));
      return link;
    }
    if (file.kind === "voice" || file.kind === "audio") {
      const player = element("audio", "media");
      player.controls = true;
      player.preload = "metadata";
      player.src = address;
      player.ariaLabel = file.name;
      const both = element("div", "sound");
      both.append(player, link);
      return both;
    }
    link.download = file.name;
    return link;
  });
}

export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
