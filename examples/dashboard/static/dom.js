// Small helpers to draw with. Everything from outside is set as text, never as HTML.

export const $ = (id) => document.getElementById(id);

export function el(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children.filter((child) => child != null));
  return node;
}

// Makes the children of a list match items (each with an id). Nodes that stay are kept, and so is the keyboard's focus.
export function sync(list, items, make, update = () => {}) {
  const old = new Map([...list.children].map((node) => [node.dataset.id, node]));
  const nodes = items.map((item) => {
    const node = old.get(item.id) ?? make(item);
    node.dataset.id = item.id;
    old.delete(item.id);
    return node;
  });
  old.forEach((node) => node.remove());
  nodes.forEach((node, index) => {
    if (list.children[index] !== node) list.insertBefore(node, list.children[index] ?? null);
    update(node, items[index]);
  });
  list.nextElementSibling.hidden = items.length > 0; // the sentence for an empty list
}

// The picture of a guild or a person, or its initials on a colour of its own.
export function picture(name, url, id) {
  const box = el("span", { className: "picture", ariaHidden: "true" });
  const initials = name.split(/[\s_.-]+/).filter(Boolean).slice(0, 2).map((word) => [...word][0]).join("");
  box.textContent = initials.toUpperCase() || "?";
  const hash = [...id].reduce((sum, digit) => (sum * 31 + digit.charCodeAt(0)) % 9973, 7);
  box.style.setProperty("--hue", (hash * 137) % 360);
  if (url) {
    const image = el("img", { alt: "", src: url, loading: "lazy" });
    image.addEventListener("error", () => image.remove()); // the initials are underneath
    box.append(image);
  }
  return box;
}

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

export function time(iso) {
  const date = new Date(iso);
  return el("time", { dateTime: iso, title: exact.format(date), textContent: clock.format(date) });
}

export function duration(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

export const count = (number, word) => `${number.toLocaleString()} ${word}${number === 1 ? "" : "s"}`;
