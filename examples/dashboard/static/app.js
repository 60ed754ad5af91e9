// What the page knows, where it comes from and what a click does. view.js draws it.

import { get, listen, post } from "./api.js";
import { $ } from "./dom.js";
import * as view from "./view.js";

const ACTIVITY = 40; // entries kept
const STATUS_EVERY = 10_000; // milliseconds

const state = {
  trouble: null, // {title, text, since} while the bot or the dashboard's server is away, or something did not load
  connection: "connecting", // the session's state with the bot, or "no server"
  up: false,
  status: null,
  guilds: new Map(),
  guild: null, // the chosen one, with its channels
  members: new Map(), // of the chosen guild
  channel: null, // the chosen one
  messages: new Map(), // of the chosen channel
  unread: new Set(), // ids of channels
  activity: [],
};

const byId = (items) => new Map(items.map((item) => [item.id, item]));

// The address says what to show: #/guild/channel. Without it, or when it is gone: the first.
async function fetchChosen() {
  const [, guildId, channelId] = location.hash.split("/");
  const [status, guilds] = await Promise.all([get("/api/status"), get("/api/guilds")]);
  guilds.sort((a, b) => a.name.localeCompare(b.name));
  const chosen = guilds.find((guild) => guild.id === guildId) ?? guilds[0];
  const guild = chosen ? await get(`/api/guilds/${chosen.id}`) : null;
  const channel = guild?.channels.find((channel) => channel.id === channelId) ?? guild?.channels[0] ?? null;
  const messages = channel ? await get(`/api/channels/${channel.id}/messages`) : [];
  return {
    status, guild, channel,
    guilds: byId(guilds), members: byId(guild?.members ?? []), messages: byId(messages),
  };
}

let newest = 0; // number of the newest load: a slow answer must not replace what was chosen since
let loading = false;
const early = []; // changes that came during a load: what is being loaded may be older than they are

async function load() {
  const mine = ++newest;
  loading = true;
  let loaded = {};
  let trouble = null;
  try {
    loaded = await fetchChosen();
  } catch (error) {
    trouble = { title: "This did not load.", text: error.message };
  }
  if (mine !== newest) return;
  loading = false;
  Object.assign(state, loaded);
  if (state.up) setTrouble(trouble);
  state.unread.delete(state.channel?.id);
  early.splice(0).forEach(apply);
  view.draw(state);
}

// Several reasons to load come together after a restart of the bot; one load does for them.
let soon = 0;
function reload() {
  clearTimeout(soon);
  soon = setTimeout(load, 50);
}

const AWAY = "The bot is not answering.";
const CATCH_UP = "This page catches up when it is back.";
const TROUBLE = {
  connecting: { title: AWAY, text: `Looking for the bot. ${CATCH_UP}` },
  lost: { title: AWAY, text: `The connection with the bot was lost. ${CATCH_UP}` },
  closed: { title: AWAY, text: "The dashboard is ending." },
  "bot not ready": { title: "The bot is starting.", text: "Discord has not told it about its guilds yet." },
};

function setTrouble(trouble) {
  // A new sentence about the same trouble does not restart its clock.
  const since = trouble && state.trouble?.title === trouble.title ? state.trouble.since : Date.now();
  state.trouble = trouble && { ...trouble, since };
}

// Applying a change twice does no harm, so it does not matter whether a load already had it.
function apply(change) {
  const { kind, guild, member, message } = change;
  const here = guild.id === state.guild?.id;
  if (kind === "guild_remove") {
    state.guilds.delete(guild.id);
    if (here) reload(); // what is shown is gone
  } else {
    state.guilds.set(guild.id, guild);
    if (here) Object.assign(state.guild, guild);
    if (!state.guild) reload(); // the first one
  }
  if (here && kind === "member_join") state.members.set(member.id, { ...member, fresh: true });
  if (here && kind === "member_remove") state.members.delete(member.id);
  if (message && message.channel_id === state.channel?.id) state.messages.set(message.id, message);
  else if (message) state.unread.add(message.channel_id);
  state.activity = [change, ...state.activity].slice(0, ACTIVITY);
}

function heard(update) {
  if (update.type === "change") {
    if (loading) return void early.push(update.data);
    apply(update.data);
  } else if (update.type === "missed") {
    reload();
  } else {
    state.connection = update.data;
    state.up = update.data === "ready";
    setTrouble(TROUBLE[update.data] ?? null);
    if (state.up) reload();
  }
  view.draw(state);
}

function lost() {
  state.connection = "no server";
  state.up = false;
  setTrouble({ title: "The dashboard's server is not answering.", text: CATCH_UP });
  view.draw(state);
}

async function send(event) {
  event.preventDefault();
  const text = $("text").value;
  const channel = state.channel;
  if (!channel || view.sending()) return;
  view.sending(true);
  try {
    const message = await post(`/api/channels/${channel.id}/messages`, { text });
    if (channel.id === state.channel?.id) state.messages.set(message.id, message);
    $("text").value = "";
    view.formError("");
  } catch (error) {
    view.formError(error.message); // the text stays, to be sent again
  }
  view.sending(false);
  view.draw(state);
}

async function refreshStatus() {
  if (!state.up || document.hidden) return;
  // The events report trouble, so a failed refresh is silent and the old numbers stay.
  const status = await get("/api/status").catch(() => null);
  if (status) state.status = status;
  view.draw(state);
}

$("form").addEventListener("submit", send);
$("text").addEventListener("input", () => view.formError(""));
addEventListener("hashchange", load);
setInterval(refreshStatus, STATUS_EVERY);
setInterval(() => view.clocks(state), 1000);
listen(heard, lost);
get("/api/about").then(view.about, () => {});
view.draw(state);
