// The conversation's events from the server, taken up again from the same place whenever the connection is lost.

const QUIET_MS = 1_500; // a reconnect that takes less is nobody's business
const LONGEST_WAIT_MS = 15_000;
const HIDDEN_MS = 60_000; // a browser has six connections for a site, so pages nobody looks at give theirs back

export class Feed {
  /** `handlers` has `update`, `partial`, `work` and `trouble` for events, `status` for the connection's state. */
  constructor({ url, cursor, handlers, isNeeded }) {
    Object.assign(this, { url, cursor, handlers, isNeeded });
    this.failures = 0;
    document.addEventListener("visibilitychange", () => this.noteVisibility());
    window.addEventListener("online", () => this.open());
    window.addEventListener("offline", () => handlers.status("offline"));
    window.addEventListener("pagehide", () => this.close());
    window.addEventListener("pageshow", (event) => event.persisted && this.open());
    this.open();
  }

  open() {
    this.close();
    const source = new EventSource(`${this.url}?after=${encodeURIComponent(this.cursor)}`);
    this.source = source;
    source.onopen = () => {
      this.failures = 0;
      clearTimeout(this.quiet);
      this.quiet = 0;
      this.handlers.status("open");
    };
    source.onerror = () => this.lost(source);
    for (const name of ["update", "partial", "work", "trouble"]) {
      source.addEventListener(name, (event) => {
        if (event.lastEventId) this.cursor = event.lastEventId;
        this.handlers[name](JSON.parse(event.data));
      });
    }
  }

  close() {
    clearTimeout(this.retry);
    this.source?.close();
    this.source = null;
  }

  lost(source) {
    if (source !== this.source) return;
    this.quiet ||= setTimeout(() => this.handlers.status(navigator.onLine ? "lost" : "offline"), QUIET_MS);
    if (source.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
    this.failures += 1;
    clearTimeout(this.retry);
    this.retry = setTimeout(() => this.tryAgain(), Math.min(500 * 2 ** this.failures, LONGEST_WAIT_MS));
  }

  /** A refusal looks like a failure to EventSource, so the reason is asked for in a way that tells it. */
  async tryAgain() {
    let status = 0;
    try {
      status = (await fetch(this.url.replace(/events$/, "messages"), { cache: "no-store" })).status;
    } catch {
      // no connection: the next try tells
    }
    if (status === 401 || status === 404) this.handlers.status(status === 401 ? "signed-out" : "gone");
    else this.open();
  }

  noteVisibility() {
    clearTimeout(this.hiding);
    if (document.visibilityState === "visible") {
      if (!this.source) this.open();
    } else {
      this.hiding = setTimeout(() => (this.isNeeded() ? this.noteVisibility() : this.close()), HIDDEN_MS);
    }
  }
}
