// A chat room over the unmodified SDK. Everything that people wrote enters the page as text.
"use strict";

const CHANNEL = "chat:lobby";
const CUT_MS = 5000;
const $ = (id) => document.getElementById(id);

// --- Connection -------------------------------------------------------------------------------

let socket = null;
let cutUntil = 0;

// The SDK's socket, but one that can be pulled out of the wall for a while.
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
const mine = new Set();      // client ids that this tab has had

const pick = (list) => list[Math.floor(Math.random() * list.length)];
let myName = sessionStorage.getItem("name") ||
  `${pick(["Quiet", "Swift", "Amber", "Bright", "Misty", "Bold"])} ` +
  `${pick(["Otter", "Heron", "Lynx", "Finch", "Maple", "Comet"])}`;

const short = (client) => client.slice(0, 8);
const nameOf = (client) => names.get(client) || short(client);

function tint(text) {
  let hash = 0;
  for (const letter of text) hash = (hash * 31 + letter.codePointAt(0)) % 360;
  return `hsl(${hash} 60% 50%)`;
}

function showMembers() {
  const lines = [...here].sort((a, b) => nameOf(a).localeCompare(nameOf(b))).map((client) => {
    const line = document.createElement("li");
    line.style.setProperty("--tint", tint(nameOf(client)));
    line.append(nameOf(client) + (mine.has(client) ? " (you)" : ""));
    if (names.has(client)) {
      const id = document.createElement("code");
      id.textContent = short(client);
      line.append(id);
    }
    return line;
  });
  $("members").replaceChildren(...lines);
  $("count").textContent = here.size;
}

// --- Messages -----------------------------------------------------------------------------------

function append(line) {
  const list = $("messages");
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
  list.append(line);
  if (list.childElementCount > 500) list.firstElementChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
}

function note(text, kind = "") {
  const line = document.createElement("li");
  line.className = `note ${kind}`;
  line.textContent = text;
  append(line);
}

function message(name, text, at, own) {
  const line = document.createElement("li");
  const who = document.createElement("span");
  who.className = "who";
  who.style.color = tint(name);
  who.textContent = name;
  const time = document.createElement("time");
  const moment = new Date(at);
  if (!Number.isNaN(moment.getTime())) time.textContent = moment.toLocaleTimeString();
  const body = document.createElement("span");
  body.className = own ? "body mine" : "body";
  body.textContent = text;
  line.append(who, time, body);
  append(line);
}

let epoch = "";
let lastOffset = 0;
let waiting = null;          // what comes live while history is on its way

// What comes from history may come live too: the offset tells.
function receive(publication, live) {
  if (live && waiting) return waiting.push(publication);
  const offset = publication.offset || 0;
  if (offset && offset <= lastOffset) return;
  if (offset) lastOffset = offset;
  const data = publication.data;
  if (typeof data !== "object" || data === null) return note(`published: ${JSON.stringify(data)}`);
  const client = publication.info ? publication.info.client : "";
  const name = String(data.name || "somebody").slice(0, 24);
  const before = names.get(client);
  if (client) names.set(client, name);
  if (typeof data.text === "string") message(name, data.text, data.at, mine.has(client));
  else if (live && before && before !== name) note(`${before} is now called ${name}`);
  else if (live && !before && !mine.has(client)) note(`${name} is here`);
  if (client) showMembers();
}

function publish(data) {
  return room.publish({ ...data, name: myName, at: Date.now() }).catch((error) => {
    note(`not sent: ${error.message}`, "lost");
  });
}

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
    // The SDK hands over what was missed right after this event, in the same task.
    recovering = { count: 0 };
    setTimeout(() => {
      const { count } = recovering;
      recovering = null;
      if (!context.recovered) note("too long away: what was missed is gone", "lost");
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
  publish({});
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
    for (const client of Object.keys(clients)) here.add(client);
    showMembers();
  } catch (error) {
    note(`no presence: ${error.message}`);
  }
}

// Which cores serve this tab: the server tells in development only.
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
  showMembers();
});

room.on("leave", ({ info }) => {
  here.delete(info.client);
  if (!mine.has(info.client)) note(`${nameOf(info.client)} left`);
  names.delete(info.client);
  showMembers();
});

room.on("error", (context) => note(context.error.message, "lost"));
room.on("unsubscribed", (context) => note(`left the room: ${context.reason}`, "lost"));

// --- Controls -----------------------------------------------------------------------------------

$("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("message").value.trim();
  if (text) publish({ text });
  $("message").value = "";
});

$("rename").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("name").value.trim();
  if (!name || name === myName) return;
  myName = name;
  sessionStorage.setItem("name", name);
  publish({});
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
