// A chat room with the unmodified SDK. Everything that people write enters the page as text.
"use strict";

const CHANNEL = "chat:lobby";
const CUT_MS = 5000;
const $ = (id) => document.getElementById(id);

// --- Connection -------------------------------------------------------------------------------

let socket = null;
let cutUntil = 0;

// The SDK's socket, with a way to cut it off for a while.
class CuttableSocket extends WebSocket {
  constructor(...args) {
    super(...args);
    socket = this;
    if (Date.now() < cutUntil) queueMicrotask(() => this.close());
  }
}

const scheme = location.protocol === "https:" ? "wss:" : "ws:";
const centrifuge = new Centrifuge(`${scheme}//${location.host}/connection/websocket`, {
  websocket: CuttableSocket,
  name: "lobby",
  minReconnectDelay: 300,
  maxReconnectDelay: 1500,
});
const room = centrifuge.newSubscription(CHANNEL);

// --- Who ----------------------------------------------------------------------------------------

const here = new Set();      // client ids that are present
const names = new Map();     // client id -> name, from what was published
const users = new Map();     // client id -> user id, where a token named one
const mine = new Set();      // client ids that this tab has had

const pick = (list) => list[Math.floor(Math.random() * list.length)];
let myName = sessionStorage.getItem("name") ||
  `${pick(["Quiet", "Swift", "Amber", "Bright", "Misty", "Bold", "Calm", "Jolly"])} ` +
  `${pick(["Otter", "Heron", "Lynx", "Finch", "Maple", "Comet", "Badger", "Wren"])}`;

const nameOf = (client) => names.get(client) || users.get(client) || "guest";

// A number computed from the whole id, because two people may have the same name and the first
// letters of two ids may be the same.
function digest(client) {
  let hash = 0x811c9dc5;
  for (const letter of client) hash = Math.imul(hash ^ letter.codePointAt(0), 0x01000193);
  return (hash ^ (hash >>> 15)) >>> 0;
}

function element(kind, className, text) {
  const made = document.createElement(kind);
  made.className = className;
  made.textContent = text;
  return made;
}

function colour(line, client) {
  line.style.setProperty("--hue", digest(client) % 360);
  line.classList.add("tinted");
}

function tag(client) {
  const made = element("code", "", `#${digest(client).toString(36).padStart(4, "0").slice(-4)}`);
  made.title = `client ${client}`;
  return made;
}

function showMembers() {
  const lines = [...here].sort((a, b) => nameOf(a).localeCompare(nameOf(b))).map((client) => {
    const line = element("li", "", "");
    colour(line, client);
    const name = nameOf(client) + (mine.has(client) ? " (you)" : "");
    line.append(element("span", "", name), tag(client));
    return line;
  });
  $("members").replaceChildren(...lines);
  $("count").textContent = here.size;
}

// --- Messages -----------------------------------------------------------------------------------

function append(list, line) {
  const { scrollHeight, scrollTop, clientHeight } = $("scroll");
  list.append(line);
  if (list.childElementCount > 500) list.firstElementChild.remove();
  if (scrollHeight - scrollTop - clientHeight < 80) $("scroll").scrollTop = scrollHeight;
}

const note = (text, kind = "") => append($("messages"), element("li", `note ${kind}`, text));

function message(client, name, text, at) {
  const line = document.createElement("li");
  const who = element("span", "who", name);
  colour(who, client || name);
  line.append(who);
  const namesake = ([other, known]) => known === name && other !== client && !mine.has(client);
  if (client && [...names].some(namesake)) line.append(tag(client));
  const moment = new Date(at);
  const told = !Number.isNaN(moment.getTime());
  line.append(element("time", "", told ? moment.toLocaleTimeString() : ""));
  line.append(element("span", mine.has(client) ? "body mine" : "body", text));
  append($("messages"), line);
  $("empty").hidden = true;
}

let epoch = "";
let lastOffset = 0;
let waiting = null;          // what comes live while history is on its way

// A publication from history may arrive live too; its offset identifies it.
function receive(publication, live) {
  if (live && waiting) return waiting.push(publication);
  const offset = publication.offset || 0;
  if (offset && offset <= lastOffset) return;
  if (offset) lastOffset = offset;
  const data = publication.data;
  if (data === null) return; // Nothing to show.
  const client = publication.info ? publication.info.client : "";
  const named = typeof data.name === "string" && data.name !== "";
  const said = typeof data.text === "string";
  // The server API may publish any JSON.
  if (!said && !(client && named)) return note(`published: ${JSON.stringify(data)}`);
  const name = named ? data.name.slice(0, 24) : "somebody";
  const before = names.get(client);
  if (client && named) names.set(client, name);
  if (said && isNew(data.key)) message(client, name, data.text, data.at);
  else if (!said && live && before && before !== name) note(`${before} is now called ${name}`);
  else if (!said && live && !before && !mine.has(client)) note(`${name} is here`);
  if (client) showMembers();
}

// Announces who this tab is. If that is lost, the next "subscribed" repeats it.
function announce() {
  if (room.state === "subscribed") room.publish({ name: myName, at: Date.now() }).catch(() => {});
}

// --- What was typed -----------------------------------------------------------------------------

const unsent = [];           // in order; kept until the server has acknowledged it
const keys = new Set();      // of messages that are shown: one that was sent twice is not
let sending = false;

function isNew(key) {
  if (typeof key !== "string") return true;
  if (keys.has(key)) return false;
  keys.add(key);
  if (keys.size > 1000) keys.delete(keys.values().next().value);
  return true;
}

function say(text) {
  const key = `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`;
  unsent.push({ text, key, at: Date.now() });
  sendUnsent();
  // Usually the answer arrives before this.
  setTimeout(showUnsent, 400);
}

async function sendUnsent() {
  if (sending) return;
  sending = true;
  while (unsent.length > 0 && room.state === "subscribed") {
    try {
      await room.publish({ ...unsent[0], name: myName });
    } catch (error) {
      // Codes from 100 on are the server's answer; below, it is not known whether the publication
      // arrived.
      if (error.code < 100 || error.temporary) break;
      note(`not sent: ${error.message}`, "lost");
    }
    unsent.shift();
  }
  sending = false;
  showUnsent();
}

function showUnsent() {
  $("unsent").replaceChildren();
  for (const { text } of unsent) {
    const line = document.createElement("li");
    line.append(element("span", "why", "sent when the connection is back"));
    line.append(element("span", "body", text));
    append($("unsent"), line);
  }
  if (unsent.length > 0) $("empty").hidden = true;
}

// A publication without an answer is sent again while the connection lasts.
setInterval(sendUnsent, 2000);

// --- Events -------------------------------------------------------------------------------------

function showState(state, more = "") {
  $("state").dataset.state = state;
  $("state").textContent = state + more;
  $("cut").disabled = state !== "connected";
}

centrifuge.on("connecting", (context) => showState("connecting", context.code ? " again" : ""));
centrifuge.on("disconnected", (context) => showState("disconnected", `: ${context.reason}`));
centrifuge.on("connected", (context) => {
  mine.add(context.client);
  names.set(context.client, myName);
  showState("connected");
});

let recovering = null;

room.on("publication", (publication) => {
  if (recovering) recovering.count += 1;
  receive(publication, !recovering);
});

room.on("subscribed", async (context) => {
  if (context.wasRecovering) {
    // The SDK delivers what was missed right after this event, in the same task.
    recovering = { count: 0 };
    setTimeout(() => {
      const { count } = recovering;
      recovering = null;
      if (!context.recovered) note("offline for too long: the missed messages are lost", "lost");
      else note(`recovered ${count} ${count === 1 ? "message" : "messages"}`, "recovered");
    });
  }
  const position = context.streamPosition;
  if (position && position.epoch !== epoch) {
    epoch = position.epoch;
    lastOffset = 0;
  }
  if (!context.recovered) await loadHistory();
  await loadPresence();
  announce();
  sendUnsent();
  where();
});

async function loadHistory() {
  waiting = [];
  try {
    const { publications } = await room.history({ limit: 100, reverse: true });
    for (const publication of publications.reverse()) receive(publication, false);
  } catch (error) {
    note(`no history: ${error.message}`);
  }
  const live = waiting;
  waiting = null;
  for (const publication of live) receive(publication, true);
}

async function loadPresence() {
  try {
    const { clients } = await room.presence();
    here.clear();
    for (const [client, { user }] of Object.entries(clients)) {
      here.add(client);
      if (user) users.set(client, user);
    }
    showMembers();
  } catch (error) {
    note(`no presence: ${error.message}`);
  }
}

// Which cores serve this tab; the server answers this only in development.
async function where() {
  try {
    const { data } = await centrifuge.rpc("where", { channel: CHANNEL });
    $("where").textContent =
      `This tab is on worker ${data.worker}; the room lives on worker ${data.home}.`;
  } catch {
    $("where").textContent = "";
  }
}

room.on("join", ({ info }) => {
  here.add(info.client);
  if (info.user) users.set(info.client, info.user);
  showMembers();
});

room.on("leave", ({ info }) => {
  here.delete(info.client);
  if (!mine.has(info.client)) note(`${nameOf(info.client)} left`);
  names.delete(info.client);
  users.delete(info.client);
  showMembers();
});

room.on("error", (context) => note(context.error.message, "lost"));
room.on("unsubscribed", (context) => note(`left the room: ${context.reason}`, "lost"));

// --- Controls -----------------------------------------------------------------------------------

$("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("message").value.trim();
  if (text) say(text);
  $("message").value = "";
});

$("rename").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("name").value.trim();
  if (!name || name === myName) return;
  myName = name;
  sessionStorage.setItem("name", name);
  announce();
});

$("cut").addEventListener("click", () => {
  cutUntil = Date.now() + CUT_MS;
  note(`connection cut for ${CUT_MS / 1000} s`, "lost");
  socket.close();
});

sessionStorage.setItem("name", myName);
$("name").value = myName;
showMembers();
room.subscribe();
centrifuge.connect();
