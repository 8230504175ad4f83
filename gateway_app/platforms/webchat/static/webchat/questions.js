// What the agent asks, below the message that asks it: buttons while it waits, then what became of it.

import { element } from "./markdown.js";

const PRESS_MS = 20_000;

/** Shows `asked` below `node`; `press` takes a button's value and returns what came of it. */
export function showQuestion(node, asked, press) {
  let bar = node.querySelector(".question");
  if (!bar) {
    bar = element("div", "question");
    bar.role = "group";
    bar.ariaLabel = "Answer";
    node.querySelector(".body").after(bar);
  }
  const shown = JSON.stringify(asked);
  if (bar.dataset.shown === shown) return;
  bar.dataset.shown = shown;
  if (!asked.buttons.length) {
    bar.replaceChildren(element("span", `outcome ${asked.state}`, asked.text));
    return;
  }
  const problem = element("span", "outcome problem");
  problem.role = "status";
  const buttons = asked.buttons.map(([label, value]) => {
    const button = element("button", value.endsWith(".once") ? "choice first" : "choice", label);
    button.type = "button";
    button.addEventListener("click", async () => {
      for (const each of buttons) each.disabled = true;
      problem.textContent = await press(value);
      for (const each of buttons) each.disabled = false;
    });
    return button;
  });
  bar.replaceChildren(...buttons, problem);
}

/** Sends presses to `url`. `announce` tells screen readers. Returns the function that `showQuestion` takes. */
export function presser({ url, token, announce }) {
  return async (value) => {
    let text = "The gateway did not answer. Press again; nothing is done twice.";
    try {
      const response = await fetch(url, {
        method: "POST",
        headers: { "Content-Type": "application/json", "X-CSRFToken": token },
        body: JSON.stringify({ value }),
        signal: AbortSignal.timeout(PRESS_MS),
      });
      const answer = await response.json();
      text = answer.text ?? answer.error;
      announce(text);
      if (response.ok) return "";
    } catch {
      // no answer, or one that is not ours
    }
    return text;
  };
}
