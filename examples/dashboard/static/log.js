// The moderation log of one guild. The bot filters, so this page gets only what it shows.

import { get } from "./api.js";
import { $, el, time } from "./dom.js";

const MOST = 200; // entries kept

let source = null;
let channels = new Map(); // names by id, of the chosen guild

const ACTIONS = { 20: "kick", 21: "prune", 22: "ban", 23: "unban", 24: "member update", 72: "deleted message", 73: "bulk deletion" };

// What happened, as parts of a sentence. Everything from outside is set as text.
function words({ kind, who, count, action }, where) {
  const person = el("b", { textContent: who ?? "somebody" });
  switch (kind) {
    case "raw_message_edit": return [person, " edited a message", ...where];
    case "raw_message_delete":
      return who ? ["A message of ", person, " was deleted", ...where] : ["A message that the bot never saw was deleted", ...where];
    case "raw_bulk_message_delete": return [`${count} messages were deleted at once`, ...where];
    case "member_ban": return [person, " was banned"];
    case "member_unban": return [person, " was unbanned"];
    case "automod_action": return ["Auto-moderation stopped a message", ...where];
    case "missed": return ["Some events are missing here."];
    default: return [`Audit log: ${ACTIONS[action] ?? "entry"}`];
  }
}

const LABELS = { raw_message_edit: "edited", member_ban: "banned", member_unban: "unbanned", automod_action: "stopped", audit_log_entry_create: "audit log", missed: "missing" };

function draw(entry) {
  const name = channels.get(entry.channel_id);
  const where = name ? [" in ", el("b", { textContent: `#${name}` })] : [];
  const said = entry.before === undefined ? null : el("p", { className: "said" }, el("del", { textContent: entry.before || "(no text)" }));
  return el("li", { className: entry.kind },
    el("p", { className: "by" }, el("span", { className: "badge", textContent: LABELS[entry.kind] ?? "deleted" }),
      el("span", {}, ...words(entry, where)), time(entry.at)),
    said, entry.text ? el("p", { className: "text", textContent: entry.text }) : null);
}

function add(entry) {
  const list = $("entries");
  list.prepend(draw(entry)); // the newest first
  while (list.children.length > MOST) list.lastChild.remove();
  list.nextElementSibling.hidden = true;
}

function clear() {
  $("entries").replaceChildren();
  $("entries").nextElementSibling.hidden = false;
}

function state(name, text) {
  $("state").dataset.state = name;
  $("state-text").textContent = text;
}

function follow() {
  source?.close();
  clear();
  const guild = $("guild").value;
  if (!guild) return;
  const channel = $("channel").value;
  source = new EventSource(`/api/guilds/${guild}/log${channel ? `?channel=${channel}` : ""}`);
  source.onopen = () => { clear(); state("up", "live"); }; // what the bot has kept comes again
  source.onmessage = (event) => add(JSON.parse(event.data));
  source.onerror = () => {
    state("down", "not connected");
    if (source.readyState === EventSource.CLOSED) setTimeout(follow, 3000); // given up by the browser
  };
}

async function choose() {
  const [, guildId, channelId] = location.hash.split("/");
  try {
    const guilds = (await get("/api/guilds")).sort((a, b) => a.name.localeCompare(b.name));
    $("guild").replaceChildren(...guilds.map(({ id, name }) => el("option", { value: id, textContent: name })));
    const chosen = guilds.find((guild) => guild.id === guildId) ?? guilds[0];
    if (chosen) $("guild").value = chosen.id;
    const found = chosen ? (await get(`/api/guilds/${chosen.id}`)).channels : [];
    channels = new Map(found.map(({ id, name }) => [id, name]));
    const all = $("channel").options[0];
    $("channel").replaceChildren(all, ...found.map(({ id, name }) => el("option", { value: id, textContent: `#${name}` })));
    $("channel").value = channels.has(channelId) ? channelId : "";
    $("banner").hidden = true;
  } catch (error) {
    $("banner").textContent = error.message;
    $("banner").hidden = false;
    setTimeout(choose, 3000);
    return;
  }
  follow();
}

$("guild").addEventListener("change", () => { location.hash = `#/${$("guild").value}`; });
$("channel").addEventListener("change", () => { location.hash = `#/${$("guild").value}/${$("channel").value}`; });
addEventListener("hashchange", choose);
choose();
