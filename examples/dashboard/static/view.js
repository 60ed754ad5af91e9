// Draws what app.js knows. Lists are matched, not redrawn, so focus and scrolling stay where they are.

import { $, count, duration, el, picture, sync, time } from "./dom.js";

export function draw(state) {
  drawHead(state);
  drawGuilds(state);
  drawChannels(state);
  drawMessages(state);
  drawForm(state);
  drawMembers(state);
  drawActivity(state);
  clocks(state);
}

const STATE = { connecting: "connecting", ready: "online", "bot not ready": "starting" };

function drawHead({ connection, up, status, guilds, trouble }) {
  const ready = up && status?.ready;
  $("bot").dataset.state = ready ? "up" : up || (!trouble && !status) ? "unknown" : "down";
  $("bot-name").textContent = status?.user?.name ?? "Bot";
  $("bot-state").textContent = up && status && !ready ? "starting" : STATE[connection] ?? "not answering";
  const latency = up ? status?.latency_ms : null;
  $("latency").textContent = latency == null ? "–" : `${latency < 10 ? latency : Math.round(latency)} ms`;
  $("guild-total").textContent = status ? guilds.size.toLocaleString() : "–";
  const members = [...guilds.values()].reduce((sum, guild) => sum + guild.member_count, 0);
  $("member-total").textContent = status ? members.toLocaleString() : "–";
  document.documentElement.classList.toggle("stale", !up);
  $("banner").hidden = !trouble;
  // Only what changed is written, since screen readers read it out each time.
  set($("banner-title"), trouble?.title ?? "");
  set($("banner-text"), trouble?.text ?? "");
}

// What runs on its own, once a second.
export function clocks({ up, status, trouble }) {
  $("uptime").textContent = up && status ? duration(Date.now() - Date.parse(status.started_at)) : "–";
  $("banner-for").textContent = trouble && !up ? `Away for ${duration(Date.now() - trouble.since)}.` : "";
}

function set(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function drawGuilds({ guilds, guild: chosen, status }) {
  const sorted = [...guilds.values()].sort((a, b) => a.name.localeCompare(b.name));
  const make = (guild) => {
    const words = el("span", { className: "words" }, el("b", { title: guild.name }), el("small"));
    return el("li", {}, el("a", { href: `#/${guild.id}` }, picture(guild.name, guild.icon_url, guild.id), words));
  };
  sync($("guilds"), sorted, make, (node, guild) => {
    set(node.querySelector("b"), guild.name);
    set(node.querySelector("small"), count(guild.member_count, "member"));
    mark(node.firstChild, guild.id === chosen?.id);
  });
  if (!status) $("guilds").nextElementSibling.hidden = true; // not known to be empty before it was loaded
}

function mark(link, chosen) {
  if (chosen === link.hasAttribute("aria-current")) return;
  if (!chosen) return link.removeAttribute("aria-current");
  link.setAttribute("aria-current", "page");
  link.scrollIntoView({ block: "nearest", inline: "nearest" }); // on a phone the lists are strips to swipe
}

function drawChannels({ guild, channel: chosen, unread, status, trouble }) {
  set($("guild-name"), guild?.name ?? (status ? "No guild" : trouble ? "Nothing to show yet" : "Loading"));
  set($("guild-count"), guild ? count(guild.member_count, "member") : "");
  const make = (channel) =>
    el("li", {}, el("a", { href: `#/${guild.id}/${channel.id}`, title: channel.topic ?? "" },
      `#\u2009${channel.name}`, el("span", { className: "visually-hidden" })));
  sync($("channels"), guild?.channels ?? [], make, (node, channel) => {
    mark(node.firstChild, channel.id === chosen?.id);
    node.classList.toggle("unread", unread.has(channel.id));
    set(node.querySelector("span"), unread.has(channel.id) ? ", new messages" : "");
  });
  if (!guild) $("channels").nextElementSibling.hidden = true;
}

let shown = null; // id of the channel whose messages are drawn

function drawMessages({ messages, channel }) {
  const box = $("log");
  const other = shown !== channel?.id;
  if (other) $("messages").replaceChildren();
  shown = channel?.id;
  // A reader further up is not pulled down by what arrives.
  const atEnd = other || box.scrollHeight - box.scrollTop - box.clientHeight < 60;
  const make = ({ author, text, at }) =>
    el("li", {}, picture(author.name, author.avatar_url, author.id),
      el("div", { className: "words" },
        el("p", { className: "by" }, el("b", { textContent: author.name }), badge(author), time(at)),
        el("p", { className: "text", textContent: text || "(no text)" })));
  const before = $("messages").children.length;
  sync($("messages"), [...messages.values()], make);
  if (!channel) $("messages").nextElementSibling.hidden = true;
  if (atEnd && (other || $("messages").children.length !== before)) box.scrollTop = box.scrollHeight;
}

const badge = (person) => (person.bot ? el("span", { className: "badge", textContent: "bot" }) : null);

function drawForm({ up, channel, status }) {
  const can = up && channel?.can_send;
  const name = status?.user?.name ?? "the bot";
  set($("text-label"), channel ? `Write in #${channel.name} as ${name}` : `Write as ${name}`);
  $("text").placeholder = !up ? "Waiting for the bot" : can ? "Say something" : channel ? "The bot may not write here" : "";
  // Read-only rather than disabled: what was typed stays in reach of the keyboard while the bot is away.
  $("text").readOnly = !can;
  $("send").disabled = !can || sending();
}

export function sending(now) {
  if (now !== undefined) $("form").ariaBusy = String(now);
  return $("form").ariaBusy === "true";
}

export function formError(text) {
  set($("form-error"), text);
  $("text").ariaInvalid = String(Boolean(text));
}

function drawMembers({ members, guild }) {
  const sorted = [...members.values()].sort((a, b) => a.name.localeCompare(b.name));
  const make = (member) => {
    const node = el("li", { className: member.fresh ? "fresh" : "" },
      picture(member.name, member.avatar_url, member.id),
      el("span", { className: "words" }, el("b", { textContent: member.name, title: member.name })), badge(member));
    return node;
  };
  sync($("members"), sorted, make);
  if (!guild) $("members").nextElementSibling.hidden = true;
}

const HAPPENED = { member_join: "joined", member_remove: "left", message: "wrote in" };
const BOT_DID = { guild_join: "The bot joined ", guild_update: "Something changed about ", guild_remove: "The bot left " };

function drawActivity({ activity }) {
  const items = activity.map((change) => ({ ...change, id: `${change.kind} ${change.at}` }));
  const make = ({ kind, at, guild, member, message }) => {
    const who = member ?? message?.author;
    const where = el("b", { textContent: guild.name });
    const words = who ? [el("b", { textContent: who.name }), ` ${HAPPENED[kind]} `, where] : [BOT_DID[kind], where];
    return el("li", { className: kind },
      el("p", {}, ...words, " ", time(at)),
      message ? el("p", { className: "said", textContent: message.text }) : null);
  };
  sync($("activity"), items, make);
}

export function about({ importable, versions }) {
  const found = Object.keys(importable).filter((name) => importable[name]);
  const missing = Object.keys(importable).filter((name) => !importable[name]);
  const only = missing.length ? ` It cannot import ${missing.join(" or ")}.` : "";
  const also = found.length ? ` It could also import ${found.join(" and ")}, and does not use it.` : "";
  $("about").textContent =
    `This page's server runs on ipc-client ${versions["ipc-client"]} and aiohttp ${versions.aiohttp}.${only}${also}`;
}
