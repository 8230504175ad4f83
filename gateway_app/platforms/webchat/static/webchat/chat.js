// A conversation's page: puts its parts together.

import { Attachments } from "./attachments.js";
import { Composer, forgetDrafts } from "./composer.js";
import { CommandMenu } from "./commands.js";
import { Feed } from "./feed.js";
import { presser } from "./questions.js";
import { Thread } from "./thread.js";

const at = (id) => document.getElementById(id);
const state = JSON.parse(at("state").textContent);
const token = document.querySelector("[name=csrfmiddlewaretoken]").value;
const base = `${location.pathname.replace(/\/$/, "")}/`;

const announcer = at("announcer");
function announce(text) {
  announcer.textContent = text.slice(0, 1_000);
}

const thread = new Thread({
  list: at("messages"),
  scroller: at("scroller"),
  jump: at("jump"),
  empty: at("empty"),
  announce,
  base,
  press: presser({ url: `${base}press`, token, announce }),
  async loadWork(turn) {
    const response = await fetch(`${base}work/${turn}`);
    if (!response.ok) throw new Error();
    return (await response.json()).entries;
  },
});
thread.update(state, { isSilent: true });
thread.follow();

let composer = null;
if (state.isAllowed) {
  composer = new Composer({
    form: at("composer"),
    field: at("text"),
    button: at("send"),
    problem: at("problem"),
    url: `${base}post`,
    token,
    chat: state.chat,
    maxChars: state.maxChars,
    signIn: signInLink(),
    onSent(item, title) {
      thread.update({ items: [item] });
      showTitle(title);
      announce("Sent");
    },
  });
  composer.attachments = new Attachments({
    list: at("attachments"),
    input: at("files"),
    button: at("attach"),
    area: at("text"),
    base,
    token,
    ticket: state.ticket,
    maxBytes: state.maxBytes,
    maxFiles: state.maxFiles,
    changed: () => composer.fit(),
    tell: (problem) => composer.tell(problem),
  });
  new CommandMenu({
    form: at("composer"),
    field: at("text"),
    list: at("commands"),
    commands: state.commands,
    complete: (text) => composer.insert(text),
  });
  for (const item of state.items) if (item.client) composer.arrived(item.client);
  for (const button of document.querySelectorAll(".suggestion")) {
    button.addEventListener("click", () => composer.insert(button.textContent));
  }
  if (matchMedia("(pointer: fine)").matches) composer.field.focus();
}

const notice = at("notice");
const STATUSES = {
  open: "",
  lost: "Reconnecting…",
  offline: "You are offline",
  gone: "This conversation is gone",
};
const feed = new Feed({
  url: `${base}events`,
  cursor: state.cursor,
  isNeeded: () => thread.isWaiting(),
  handlers: {
    update(news) {
      showTrouble("");
      for (const item of news.items) if (item.client) composer?.arrived(item.client);
      const hasReply = news.items.some((item) => item.from === "agent");
      thread.update(news);
      if (hasReply && document.hidden) document.title = `● ${title()}`;
    },
    partial: (piece) => thread.partial(piece),
    work: (doing) => thread.work(doing),
    trouble: ({ text }) => showTrouble(text),
    status(status) {
      if (status === "signed-out") {
        showTrouble("You are signed out. ", signInLink());
      }
      at("status").textContent = STATUSES[status] ?? "";
      at("status").hidden = !STATUSES[status];
    },
  },
});
window.addEventListener("focus", () => (document.title = title()));
addEventListener("visibilitychange", () => document.hidden || (document.title = title()));

function title() {
  return `${at("title").textContent} · Hermes`;
}

function showTitle(text) {
  at("title").textContent = text;
  const entry = document.querySelector("#conversations [aria-current=page]");
  if (entry) {
    entry.textContent = text;
    entry.parentElement.parentElement.prepend(entry.parentElement);
  }
  document.title = title();
}

function showTrouble(text, link) {
  notice.hidden = !text;
  notice.replaceChildren(text, ...(link ? [link] : []));
}

function signInLink() {
  const link = document.createElement("a");
  link.href = `/sign-in/?next=${encodeURIComponent(base)}`;
  link.textContent = "Sign in again";
  return link;
}

const earlier = at("earlier");
let before = state.before;
earlier.hidden = !state.hasEarlier;
earlier.addEventListener("click", async () => {
  earlier.disabled = true;
  try {
    const response = await fetch(`${base}messages?before=${before}`);
    if (!response.ok) throw new Error();
    const page = await response.json();
    before = page.before;
    earlier.hidden = !page.hasEarlier;
    thread.prepend(page.items);
    announce(`${page.items.length} earlier messages`);
  } catch {
    announce("Earlier messages could not be loaded");
  } finally {
    earlier.disabled = false;
  }
});

// --- Title ---

const renaming = at("renaming");
function showRenaming(isShown) {
  renaming.hidden = !isShown;
  at("heading").classList.toggle("visually-hidden", isShown);
  at("rename").hidden = isShown;
  if (isShown) {
    at("new-title").value = at("title").textContent;
    at("new-title").select();
  } else at("rename").focus();
}
at("rename").addEventListener("click", () => showRenaming(true));
renaming.addEventListener("keydown", (event) => event.key === "Escape" && showRenaming(false));
renaming.addEventListener("submit", async (event) => {
  event.preventDefault();
  const wanted = at("new-title").value.trim();
  if (wanted) {
    try {
      const response = await fetch(`${base}rename`, {
        method: "POST",
        headers: { "Content-Type": "application/json", "X-CSRFToken": token },
        body: JSON.stringify({ title: wanted }),
      });
      const answer = await response.json();
      if (!response.ok) throw new Error(answer.error);
      showTitle(answer.title);
      announce("Renamed");
    } catch (error) {
      announce(`Not renamed. ${error.message}`);
      return;
    }
  }
  showRenaming(false);
});

// --- Sidebar, shortcuts, sign-out ---

const sidebar = at("sidebar");
const isNarrow = matchMedia("(max-width: 52rem)");
function showSidebar(isShown) {
  document.body.classList.toggle("with-sidebar", isShown);
  at("menu").ariaExpanded = String(isShown);
  sidebar.inert = isNarrow.matches && !isShown;
  if (!isNarrow.matches) return;
  at("content").inert = isShown;
  if (isShown) sidebar.querySelector("button, a").focus();
}
showSidebar(false);
isNarrow.addEventListener("change", () => {
  at("content").inert = false;
  showSidebar(false);
});
at("menu").addEventListener("click", () => showSidebar(true));
for (const id of ["close-menu", "veil"]) {
  at(id).addEventListener("click", () => {
    showSidebar(false);
    at("menu").focus();
  });
}

const shortcuts = at("shortcuts");
at("show-shortcuts").addEventListener("click", () => shortcuts.showModal());
shortcuts.addEventListener("click", (event) => event.target === shortcuts && shortcuts.close());
document.addEventListener("keydown", (event) => {
  const isWriting = event.target.closest("textarea, input, select");
  if (event.key === "Escape" && document.body.classList.contains("with-sidebar")) at("close-menu").click();
  else if (event.altKey && event.code === "KeyN") at("start").requestSubmit();
  else if (isWriting || event.ctrlKey || event.metaKey || event.altKey || shortcuts.open) return;
  else if (event.key === "/" && composer) composer.field.focus();
  else if (event.key === "?") shortcuts.showModal();
  else return;
  event.preventDefault();
});
at("sign-out").addEventListener("submit", forgetDrafts);
