// As much of a browser's document as markdown.js uses, for tests without a browser.

class Node {
  constructor(tag) {
    this.tagName = tag.toUpperCase();
    this.childNodes = [];
    this.className = "";
    this.parent = null;
  }

  append(...nodes) {
    for (const node of nodes) {
      if (typeof node === "string") this.childNodes.push(node);
      else if (node.tagName === "#FRAGMENT") this.append(...node.childNodes.splice(0));
      else {
        node.parent = this;
        this.childNodes.push(node);
      }
    }
  }

  replaceWith(...nodes) {
    const { childNodes } = this.parent;
    childNodes.splice(childNodes.indexOf(this), 1, ...nodes);
  }

  get children() {
    return this.childNodes.filter((node) => typeof node !== "string");
  }

  get firstElementChild() {
    return this.children[0] ?? null;
  }

  querySelectorAll(selector) {
    const tag = selector.replace(":scope > ", "").toUpperCase();
    return this.children.filter((node) => node.tagName === tag);
  }

  get textContent() {
    return this.childNodes.map((node) => (typeof node === "string" ? node : node.textContent)).join("");
  }

  set textContent(text) {
    this.childNodes = text ? [text] : [];
  }

  set innerHTML(_) {
    throw new Error("markup from text");
  }

  toString() {
    const names = { className: "class", href: "href", start: "start" };
    const attributes = Object.entries(names)
      .filter(([property]) => this[property])
      .map(([property, name]) => ` ${name}="${this[property]}"`);
    const inner = this.childNodes.map((node) => (typeof node === "string" ? escaped(node) : `${node}`)).join("");
    if (this.tagName === "#FRAGMENT") return inner;
    const tag = this.tagName.toLowerCase();
    return `<${tag}${attributes.join("")}>${inner}</${tag}>`;
  }
}

function escaped(text) {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

globalThis.document = {
  createElement: (tag) => new Node(tag),
  createDocumentFragment: () => new Node("#fragment"),
};

// As the URL standard reads a scheme: blanks before it and line breaks within it do not count.
globalThis.URL = class {
  constructor(text) {
    const plain = text.replace(/^[\0-\x20]+|[\0-\x20]+$/g, "").replace(/[\t\n\r]/g, "");
    const scheme = plain.match(/^([a-zA-Z][a-zA-Z0-9+.-]*):/);
    if (!scheme) throw new TypeError("Invalid URL");
    this.protocol = `${scheme[1].toLowerCase()}:`;
    this.href = this.protocol + plain.slice(this.protocol.length);
  }
};
