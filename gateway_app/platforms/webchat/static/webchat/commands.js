// The menu of slash commands above the message field: a combobox with a list, as ARIA has it, while one types `/na…`.

const TYPED = /^\/([A-Za-z0-9_-]*)$/;

export class CommandMenu {
  /** `commands` are those that the person may run: `name`, `aliases`, `usage`, `text`, `group`. */
  constructor({ form, field, list, commands, complete }) {
    Object.assign(this, { field, list, commands, complete });
    this.found = [];
    this.at = -1; // the chosen option; the first until somebody moves
    this.hasMoved = false;
    field.addEventListener("input", () => this.show());
    field.addEventListener("blur", () => this.hide());
    // Before the field's own listener, which sends on Enter.
    form.addEventListener("keydown", (event) => event.target === field && this.press(event), true);
    // A press must not take the focus off the field, and with it the keyboard of a telephone.
    list.addEventListener("pointerdown", (event) => event.preventDefault());
    list.addEventListener("click", (event) => {
      const option = event.target.closest("[role=option]");
      if (option) this.take(Number(option.dataset.place));
    });
  }

  get isShown() {
    return !this.list.hidden;
  }

  show() {
    const typed = TYPED.exec(this.field.value);
    this.found = typed ? matching(this.commands, typed[1].toLowerCase()) : [];
    this.hasMoved = false;
    if (!this.found.length) return this.hide();
    this.list.replaceChildren(...this.options());
    this.list.hidden = false;
    this.field.setAttribute("role", "combobox");
    this.field.setAttribute("aria-haspopup", "listbox");
    this.field.setAttribute("aria-autocomplete", "list");
    this.field.setAttribute("aria-expanded", "true");
    this.field.setAttribute("aria-controls", this.list.id);
    this.choose(0);
  }

  hide() {
    this.list.hidden = true;
    this.list.replaceChildren();
    this.at = -1;
    for (const name of ["role", "aria-haspopup", "aria-autocomplete", "aria-expanded", "aria-controls", "aria-activedescendant"]) {
      this.field.removeAttribute(name);
    }
  }

  options() {
    return this.found.map((command, place) => {
      const option = document.createElement("li");
      option.id = `command-${command.name}`;
      option.dataset.place = place;
      option.setAttribute("role", "option");
      const name = document.createElement("span");
      name.className = "name";
      name.textContent = `/${command.name}`;
      if (command.usage) {
        const usage = document.createElement("span");
        usage.className = "usage";
        usage.textContent = ` ${command.usage}`;
        name.append(usage);
      }
      const text = document.createElement("span");
      text.className = "text";
      text.textContent = command.text;
      option.append(name, text);
      return option;
    });
  }

  choose(place) {
    this.at = (place + this.found.length) % this.found.length;
    for (const option of this.list.children) {
      option.setAttribute("aria-selected", String(Number(option.dataset.place) === this.at));
    }
    const chosen = this.list.children[this.at];
    this.field.setAttribute("aria-activedescendant", chosen.id);
    chosen.scrollIntoView({ block: "nearest" });
  }

  press(event) {
    if (!this.isShown || event.isComposing || event.altKey || event.ctrlKey || event.metaKey) return;
    const typed = this.field.value.toLowerCase();
    const isWhole = !this.hasMoved && this.found.some(({ name, aliases }) => [name, ...aliases].includes(typed.slice(1)));
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      this.hasMoved = true;
      this.choose(this.at + (event.key === "ArrowDown" ? 1 : -1));
    } else if (event.key === "Home" || event.key === "End") {
      this.hasMoved = true;
      this.choose(event.key === "Home" ? 0 : -1);
    } else if (event.key === "Escape") this.hide();
    else if (event.key === "Tab" && !event.shiftKey) this.take(this.at);
    else if (event.key === "Enter" && !event.shiftKey) {
      if (isWhole) return this.hide(); // a command that was typed to its end is sent
      this.take(this.at);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  take(place) {
    const command = this.found[place];
    this.hide();
    this.complete(`/${command.name}${command.usage ? " " : ""}`);
  }
}

/** The commands that `typed` may become: those that begin so, then those that have it within or as an alias. */
export function matching(commands, typed) {
  const begin = commands.filter(({ name }) => name.startsWith(typed));
  const others = commands.filter(
    ({ name, aliases }) =>
      !name.startsWith(typed) && (name.includes(typed) || aliases.some((alias) => alias.startsWith(typed))),
  );
  return [...begin, ...others];
}
