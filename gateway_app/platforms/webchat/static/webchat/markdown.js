// Markdown to DOM nodes. Text only ever becomes text nodes, so nothing in a message can become markup or script.
// Time grows with the length of the text whatever it contains: every search that can fail is bounded or remembered.

const DEEPEST = 8; // nesting of quotes, lists and emphasis; deeper ones are shown as they are written
const LONGEST_LABEL = 1000;
const LONGEST_URL = 2000;
const SCHEMES = new Set(["http:", "https:", "mailto:"]);

const FENCE = /^ {0,3}(`{3,}|~{3,})(.*)$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*)$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])(?: +|$)/;
const ITEM_WITHIN_PARAGRAPH = /^ {0,3}([-*+]|1[.)]) +\S/;
const COLUMN_RULE = /^:?-+:?$/;

/** A fragment that shows `text`. */
export function render(text) {
  const fragment = document.createDocumentFragment();
  blocks(text.replace(/\r\n?/g, "\n").split("\n"), fragment, 0);
  return fragment;
}

function blocks(lines, parent, depth) {
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    if (!line.trim()) at += 1;
    else if (isFence(line)) at = fence(lines, at, parent);
    else if (HEADING.test(line)) at = heading(lines, at, parent);
    else if (RULE.test(line)) at = rule(at, parent);
    else if (depth < DEEPEST && QUOTE.test(line)) at = quote(lines, at, parent, depth);
    else if (depth < DEEPEST && ITEM.test(line)) at = list(lines, at, parent, depth);
    else if (isTable(lines, at)) at = table(lines, at, parent);
    else at = paragraph(lines, at, parent, depth);
  }
}

function isFence(line) {
  const found = line.match(FENCE);
  return found !== null && !(found[1][0] === "`" && found[2].includes("`"));
}

function fence(lines, at, parent) {
  const [, mark, rest] = lines[at].match(FENCE);
  const language = rest.trim().split(/\s/, 1)[0];
  const end = new RegExp(`^ {0,3}\\${mark[0]}{${mark.length},}\\s*$`);
  const code = [];
  for (at += 1; at < lines.length && !end.test(lines[at]); at += 1) code.push(lines[at]);
  const figure = element("figure", "code");
  const caption = element("figcaption");
  caption.append(element("span", "language", language || "text"));
  const pre = element("pre");
  pre.tabIndex = 0; // so that a wide block can be scrolled with the keyboard
  pre.append(element("code", "", code.join("\n")));
  figure.append(caption, pre);
  parent.append(figure);
  return at + 1;
}

function heading(lines, at, parent) {
  const [, marks, text] = lines[at].match(HEADING);
  // The page has the first level and each message the second.
  const node = element(`h${Math.min(marks.length + 2, 6)}`, `level-${marks.length}`);
  inline(text, node);
  parent.append(node);
  return at + 1;
}

function rule(at, parent) {
  parent.append(element("hr"));
  return at + 1;
}

function quote(lines, at, parent, depth) {
  const inner = [];
  for (; at < lines.length && QUOTE.test(lines[at]); at += 1) inner.push(lines[at].replace(QUOTE, ""));
  const node = element("blockquote");
  blocks(inner, node, depth + 1);
  parent.append(node);
  return at;
}

function list(lines, at, parent, depth) {
  const first = lines[at].match(ITEM);
  const indent = first[1].length;
  const isOrdered = /\d/.test(first[2]);
  const node = element(isOrdered ? "ol" : "ul");
  if (isOrdered && parseInt(first[2], 10) !== 1) node.start = parseInt(first[2], 10);
  while (at < lines.length) {
    const found = lines[at].match(ITEM);
    if (!found || found[1].length < indent || found[1].length > indent + 3) break;
    if (/\d/.test(found[2]) !== isOrdered || RULE.test(lines[at])) break;
    const width = found[0].length;
    const inner = [lines[at].slice(width)];
    for (at += 1; at < lines.length; at += 1) {
      const isDeeper = lines[at].search(/\S/) >= Math.min(width, indent + 2);
      if (lines[at].trim() && !isDeeper) break;
      if (!lines[at].trim() && !goesOn(lines, at, indent)) break;
      inner.push(isDeeper ? lines[at].slice(Math.min(width, lines[at].search(/\S/))) : "");
    }
    const item = element("li");
    blocks(inner, item, depth + 1);
    // One paragraph alone is shown without a paragraph's space around it.
    if (item.firstElementChild?.tagName === "P" && item.querySelectorAll(":scope > p").length === 1) {
      item.firstElementChild.replaceWith(...item.firstElementChild.childNodes);
    }
    node.append(item);
    while (at < lines.length && !lines[at].trim() && ITEM.test(lines[at + 1] ?? "")) at += 1;
  }
  parent.append(node);
  return at;
}

/** Whether the empty line `at` stands within a list's item. */
function goesOn(lines, at, indent) {
  return /\S/.test(lines[at + 1] ?? "") && lines[at + 1].search(/\S/) >= indent + 2;
}

function isTable(lines, at) {
  const next = lines[at + 1] ?? "";
  return lines[at].includes("|") && next.includes("-") && cells(next).every((cell) => COLUMN_RULE.test(cell));
}

function table(lines, at, parent) {
  const sides = cells(lines[at + 1]).map((rule) => {
    const isRight = rule.endsWith(":");
    return isRight ? (rule.startsWith(":") ? "center" : "right") : "";
  });
  const node = element("table");
  const row = (line, tag) => {
    const tr = element("tr");
    cells(line).forEach((text, column) => {
      const cell = element(tag, sides[column] ?? "");
      inline(text, cell);
      tr.append(cell);
    });
    return tr;
  };
  const head = element("thead");
  const body = element("tbody");
  head.append(row(lines[at], "th"));
  for (at += 2; at < lines.length && lines[at].includes("|"); at += 1) body.append(row(lines[at], "td"));
  node.append(head, body);
  const scroller = element("div", "table");
  scroller.tabIndex = 0;
  scroller.append(node);
  parent.append(scroller);
  return at;
}

function cells(line) {
  return line.trim().replace(/^\|/, "").replace(/\|$/, "").split(/(?<!\\)\|/).map((cell) => cell.trim());
}

function paragraph(lines, at, parent, depth) {
  const text = [];
  do {
    text.push(lines[at].trim());
    at += 1;
  } while (at < lines.length && lines[at].trim() && !beginsBlock(lines, at, depth));
  const node = element("p");
  inline(text.join("\n"), node);
  parent.append(node);
  return at;
}

function beginsBlock(lines, at, depth) {
  const line = lines[at];
  const nests = depth < DEEPEST && (QUOTE.test(line) || ITEM_WITHIN_PARAGRAPH.test(line));
  return isFence(line) || HEADING.test(line) || RULE.test(line) || nests || isTable(lines, at);
}

const EMPHASIS = [
  ["**", "strong"],
  ["__", "strong"],
  ["~~", "del"],
  ["*", "em"],
  ["_", "em"],
];
const BARE_URL = /https?:\/\/[^\s<>"'`]{1,2000}/y;
const ANGLE_URL = /<((?:https?:\/\/|mailto:)[^\s<>]{1,2000})>/y;

function inline(text, parent, depth = 0) {
  let plain = "";
  let at = 0;
  const hopeless = new Set(); // marks that are not closed any more in this text
  const put = (node) => {
    if (plain) parent.append(plain);
    plain = "";
    parent.append(node);
  };
  while (at < text.length) {
    const character = text[at];
    const found =
      (character === "`" && codeSpan(text, at)) ||
      (character === "[" && depth < DEEPEST && link(text, at, depth)) ||
      (character === "!" && text[at + 1] === "[" && depth < DEEPEST && link(text, at + 1, depth)) ||
      ((character === "<" || character === "h") && address(text, at)) ||
      ("*_~".includes(character) && depth < DEEPEST && emphasis(text, at, depth, hopeless));
    if (found) {
      put(found.node);
      at = found.end;
    } else if (character === "\\" && /[!-/:-@[-`{-~]/.test(text[at + 1] ?? "")) {
      plain += text[at + 1];
      at += 2;
    } else if (character === "\n") {
      put(element("br"));
      at += 1;
    } else if (character === "`" || "*_~".includes(character)) {
      const isRun = character === "`"; // a longer run of these is not taken apart
      do {
        plain += character;
        at += 1;
      } while (isRun && text[at] === character);
    } else {
      plain += character;
      at += 1;
    }
  }
  if (plain) parent.append(plain);
}

function codeSpan(text, at) {
  let length = 1;
  while (text[at + length] === "`") length += 1;
  const mark = "`".repeat(length);
  let end = text.indexOf(mark, at + length);
  while (end >= 0 && (text[end + length] === "`" || text[end - 1] === "`")) {
    let past = end + length;
    while (text[past] === "`") past += 1;
    end = text.indexOf(mark, past);
  }
  if (end < 0) return null;
  let code = text.slice(at + length, end).replace(/\n/g, " ");
  if (code.startsWith(" ") && code.endsWith(" ") && code.trim()) code = code.slice(1, -1);
  return { node: element("code", "", code), end: end + length };
}

function link(text, at, depth) {
  const limit = Math.min(text.length, at + LONGEST_LABEL);
  let open = 0;
  let close = at;
  for (; close < limit; close += 1) {
    if (text[close] === "\\") close += 1;
    else if (text[close] === "[") open += 1;
    else if (text[close] === "]" && (open -= 1) === 0) break;
  }
  if (open !== 0 || text[close] !== "]" || text[close + 1] !== "(") return null;
  const rest = text.slice(close + 2, close + 2 + LONGEST_URL);
  const target = rest.match(/^\s*<?((?:[^\s()<>]|\([^\s()<>]*\))*)>?(?:\s+"[^"]*")?\s*\)/);
  const href = target && safe(target[1]);
  if (!href) return null;
  const node = anchor(href);
  inline(text.slice(at + 1, close), node, DEEPEST); // no links within links
  if (!node.textContent) node.textContent = target[1];
  return { node, end: close + 2 + target[0].length };
}

function address(text, at) {
  ANGLE_URL.lastIndex = BARE_URL.lastIndex = at;
  const angled = ANGLE_URL.exec(text);
  if (angled && safe(angled[1])) {
    return { node: anchor(safe(angled[1]), angled[1].replace(/^mailto:/, "")), end: at + angled[0].length };
  }
  if (at > 0 && /[\w/]/.test(text[at - 1])) return null;
  let url = BARE_URL.exec(text)?.[0].replace(/[.,;:!?*_~]+$/, "");
  if (url?.endsWith(")") && !url.includes("(")) url = url.replace(/\)+[.,;:!?*_~]*$/, "");
  return url && safe(url) ? { node: anchor(safe(url), url), end: at + url.length } : null;
}

function emphasis(text, at, depth, hopeless) {
  for (const [mark, tag] of EMPHASIS) {
    if (!text.startsWith(mark, at) || hopeless.has(mark)) continue;
    const start = at + mark.length;
    const isTriple = mark.length === 2 && text[start] === mark[0] && text[start + 1] !== mark[0];
    if (/\s/.test(text[start] ?? " ") || (text[start] === mark[0] && !isTriple)) continue;
    const isWordMark = mark[0] === "_"; // snake_case is no emphasis
    if (isWordMark && at > 0 && /\w/.test(text[at - 1])) continue;
    const end = closing(text, start, mark, isWordMark);
    if (end < 0) {
      hopeless.add(mark);
      continue;
    }
    const node = element(tag);
    inline(text.slice(start, end), node, depth + 1);
    return { node, end: end + mark.length };
  }
  return null;
}

function closing(text, start, mark, isWordMark) {
  for (let end = text.indexOf(mark, start + 1); end >= 0; end = text.indexOf(mark, end + 1)) {
    let run = end + mark.length;
    while (text[run] === mark[0]) run += 1;
    const length = run - end;
    // Of a run longer than the mark the last characters close the outer one: ***a*** and **a *b***.
    const isMine = mark.length === 1 ? length !== 2 : length >= 2;
    const place = run - mark.length;
    const isWord = isWordMark && /\w/.test(text[run] ?? "");
    if (isMine && !/\s/.test(text[end - 1]) && text[end - 1] !== "\\" && !isWord) return place;
    end = run - 1;
  }
  return -1;
}

/** `url` as an absolute address of a scheme that cannot run anything here, or nothing. */
function safe(url) {
  try {
    const parsed = new URL(url);
    return SCHEMES.has(parsed.protocol) ? parsed.href : "";
  } catch {
    return "";
  }
}

function anchor(href, text = "") {
  const node = element("a", "", text);
  node.href = href;
  node.target = "_blank";
  node.rel = "noopener noreferrer nofollow";
  return node;
}

/** A new element with a class and a text. */
export function element(tag, className = "", text = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = text;
  return node;
}
