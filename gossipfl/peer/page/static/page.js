"use strict";
// One page for a peer (/api/view) and for a demo (/api/demo). It asks once a second, and keeps a bounded past.

const $ = (id) => document.getElementById(id);
const isDemo = document.body.dataset.page === "demo";
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const SVG = "http://www.w3.org/2000/svg";
const PERIOD = 1000, MOST_HISTORY = 900, MOST_EVENTS = 60, MOST_PULSES = 60;
const memory = { after: 0, since: 0, history: [], events: [], places: new Map(), before: new Map(), failures: 0 };

// The token comes after #, which no browser sends; it leaves the address bar, and lives as long as the tab.
const fragment = new URLSearchParams(location.hash.slice(1));
if (fragment.get("token")) {
  sessionStorage.setItem("token", fragment.get("token"));
  history.replaceState(null, "", location.pathname);
}
const token = sessionStorage.getItem("token");
if ($("hint")) $("hint").hidden = Boolean(token);

const short = (id) => (id.length > 12 ? "…" + id.slice(-6) : id);
const bytes = (n) => (n < 1e3 ? `${n} B` : n < 1e6 ? `${(n / 1e3).toFixed(1)} kB` : n < 1e9 ? `${(n / 1e6).toFixed(1)} MB` : `${(n / 1e9).toFixed(2)} GB`);
const whole = (n) => (n === null || n === undefined ? "–" : Math.round(n).toLocaleString("en"));
const figure = (n) => (n === null || n === undefined ? "–" : Math.abs(n) >= 1e4 || (n !== 0 && Math.abs(n) < 1e-3) ? n.toExponential(2) : Number(n.toPrecision(4)).toString());
const clock = (t) => new Date(1000 * t).toLocaleTimeString("en-GB");
const ago = (t, now) => { if (!t) return "never"; const s = Math.max(0, now - t); return s < 2 ? "just now" : s < 90 ? `${Math.round(s)} s ago` : s < 5400 ? `${Math.round(s / 60)} min ago` : `${Math.round(s / 3600)} h ago`; };
const isShare = (name, value) => value !== null && value !== undefined && value >= 0 && value <= 1 && name !== "loss";
const shown = (name, value) => (isShare(name, value) ? `${(100 * value).toFixed(1)} %` : figure(value));

function element(tag, attributes = {}, ...children) {
  const made = tag.startsWith("svg:") ? document.createElementNS(SVG, tag.slice(4)) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.filter((each) => each !== null && each !== undefined));
  return made;
}
// Replaces content only where it changed: a screen reader and the selection keep their place.
function write(node, text) { if (node && node.textContent !== text) node.textContent = text; }

function tell(text) {
  write($("said"), text);
  $("said").hidden = false;
  clearTimeout(tell.timer);
  tell.timer = setTimeout(() => { $("said").hidden = true; }, 5000);
}

async function ask(path) {
  const given = token ? { Authorization: `Bearer ${token}` } : {};
  try {
    const answer = await fetch(path, { method: "POST", headers: given });
    const said = await answer.json();
    if (!answer.ok) tell(`${said.error.message}. ${said.error.remedy || ""}`);
    return answer.ok;
  } catch { tell("The peer does not answer."); return false; }
}

function showTiles(tiles) {
  const list = $("tiles");
  for (const [name, value, note] of tiles) {
    const id = `tile-${name.toLowerCase().replace(/[^a-z]+/g, "-")}`;
    let tile = $(id);
    if (!tile) {
      tile = element("div", { id }, element("dt", {}, name), element("dd", {}, element("span"), element("small")));
      list.append(tile);
    }
    write(tile.querySelector("span"), value);
    write(tile.querySelector("small"), note || "");
  }
}

function showState(state, text) {
  document.querySelector(".state").dataset.state = state;
  write($("state"), text);
}

// The graph: every node keeps its place, edges are connections, and pulses are models on their way.
function placed(ids, centre) {
  const ring = ids.filter((id) => id !== centre);
  const [x, y] = [320, 210];
  ring.forEach((id, index) => {
    const angle = (2 * Math.PI * index) / ring.length - Math.PI / 2 + (centre ? 0.35 : 0);
    const radius = centre ? [235, 150] : [230, 150];
    memory.places.set(id, [x + radius[0] * Math.cos(angle), y + radius[1] * Math.sin(angle)]);
  });
  if (centre) memory.places.set(centre, [x, y]);
  for (const id of memory.places.keys()) if (!ids.includes(id)) memory.places.delete(id);
}

function showGraph(nodes, edges, text, centre) {
  placed(nodes.map((each) => each.id), centre);
  const key = JSON.stringify([nodes, edges.map((each) => [each.from, each.to])]);
  write($("graph-text"), text);
  if (showGraph.key === key) return;
  showGraph.key = key;
  const graph = $("graph");
  const pulses = [...graph.querySelectorAll(".pulse")];
  const lines = edges.map(({ from, to }) => {
    const [[x1, y1], [x2, y2]] = [memory.places.get(from), memory.places.get(to)];
    return element("svg:line", { class: "edge live", x1, y1, x2, y2 });
  });
  const circles = nodes.map(({ id, label, below, state }) => {
    const [x, y] = memory.places.get(id);
    const radius = state === "self" ? 24 : 19;
    return element("svg:g", { class: `node ${state}`, transform: `translate(${x} ${y})` },
      element("svg:circle", { r: radius }), element("svg:text", { class: "inside", dy: 4 }, label),
      below ? element("svg:text", { class: "below", dy: radius + 14 }, below) : null);
  });
  graph.replaceChildren(...lines, ...pulses, ...circles);
}

function pulse(from, to, kind, delay) {
  const [a, b] = [memory.places.get(from), memory.places.get(to)];
  const graph = $("graph");
  if (!a || !b || calm.matches || document.hidden || graph.querySelectorAll(".pulse").length >= MOST_PULSES) return;
  const dot = element("svg:circle", { class: `pulse ${kind}`, r: 4.5, opacity: 0 });
  graph.insertBefore(dot, graph.querySelector(".node"));
  const begin = performance.now() + delay;
  const step = (now) => {
    const share = (now - begin) / 700;
    if (share >= 1) { dot.remove(); return; }
    if (share >= 0) {
      const eased = share * share * (3 - 2 * share);
      dot.setAttribute("opacity", "1");
      dot.setAttribute("cx", a[0] + (b[0] - a[0]) * eased);
      dot.setAttribute("cy", a[1] + (b[1] - a[1]) * eased);
    }
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
}

function curve(name, points, said) {
  let box = $(`curve-${name}`);
  if (!box) {
    box = element("figure", { id: `curve-${name}` }, element("figcaption", {}, element("span", {}, name.replaceAll("_", " ")), element("b")),
      element("svg:svg", { viewBox: "0 0 300 74", preserveAspectRatio: "none", role: "img" }, element("svg:path", { class: "area" }), element("svg:path")));
    $("curves").append(box);
  }
  const known = points.filter(([, value]) => value !== null && value !== undefined);
  write(box.querySelector("b"), said);
  box.querySelector("svg").setAttribute("aria-label", `${name.replaceAll("_", " ")}: now ${said}`);
  if (known.length < 2) return;
  const values = known.map((each) => each[1]);
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const [first, last] = [known[0][0], known[known.length - 1][0]];
  const at = ([time, value]) => `${((300 * (time - first)) / (last - first || 1)).toFixed(1)} ${(68 - (62 * (value - least)) / (most - least || 1)).toFixed(1)}`;
  const stride = Math.max(1, Math.floor(known.length / 300));
  const line = known.filter((_, index) => index % stride === 0 || index === known.length - 1).map(at).join("L");
  const [area, path] = box.querySelectorAll("path");
  path.setAttribute("d", `M${line}`);
  area.setAttribute("d", `M0 74L${line}L300 74Z`);
}

function rows(body, made) {
  const text = JSON.stringify(made);
  if (body.before === text) return;
  body.before = text;
  body.replaceChildren(...made.map((cells) => element("tr", {}, ...cells.map(([value, kind, more], index) => {
    if (index === 0) return element("th", { scope: "row", ...(more ? { title: more } : {}) }, value);
    if (kind === "number") return element("td", { class: "number" }, value);
    return element("td", {}, kind ? element("span", { class: `tag ${kind}` }, value) : value);
  }))));
}

const effectOf = (effect) => (effect ? `${effect.mean > 0 ? "+" : ""}${figure(effect.mean)}${effect.standard_error === null ? "" : ` ± ${figure(2 * effect.standard_error)}`}` : "–");

const stateOf = (peer) => (peer.quarantined ? ["quarantined", "bad"] : peer.connected ? ["connected", "good"] : peer.failures ? [`${peer.failures} failures`, "warn"] : ["known", "plain"]);

function saidOf(event) {
  const who = short(event.sender || event.neighbour || "");
  if (event.kind === "merge") return [`merged a model of ${who}${event.gate ? ` (${event.gate}, share ${figure(event.share)})` : ""}`, ""];
  if (event.kind === "adopt") return [`took over the model of ${who}`, ""];
  if (event.kind === "refusal") return [`refused a model of ${who}: ${event.reason}`, "bad"];
  if (event.kind === "exchange") return [`exchange with ${who}: ${event.outcome.replaceAll("_", " ")}`, event.outcome === "ok" ? "" : "bad"];
  if (event.kind === "go_back") return ["went back to the last good model", "bad"];
  if (event.kind === "permission") {
    const reasons = event.reasons.length ? `: ${event.reasons.join(", ").replaceAll("_", " ")}` : "";
    return [event.trains ? "training is allowed" : `${event.merges ? "training waits" : "training and merging wait"}${reasons}`, ""];
  }
  if (event.kind === "round") return [`finished round ${event.round}`, ""];
  return ["trained alone", ""];
}

function showEvents(fresh) {
  if (!fresh.length) return;
  memory.events = [...fresh.slice().reverse(), ...memory.events].slice(0, MOST_EVENTS);
  $("events").replaceChildren(...memory.events.map((event) => {
    const [text, kind] = saidOf(event);
    return element("li", { class: kind }, element("time", {}, clock(event.time)), element("span", {}, text));
  }));
}

function showPolicy(policy, health) {
  $("policy-card").hidden = !policy;
  if (!policy) return;
  write($("policy-text"), health.paused ? "Paused by the operator, whatever the policy says." : health.waiting || "All conditions hold: training is allowed.");
  rows($("policy"), policy.conditions.map((each) => [[each.name.replaceAll("_", " ")], [each.holds ? "holds" : "waits", each.holds ? "good" : "warn"], [each.text]]));
}

function showPeer({ status, health, events, history }) {
  const now = status.updated, own = status.peer_id;
  memory.history = [...memory.history, ...history].slice(-MOST_HISTORY);
  if (history.length) memory.since = history[history.length - 1].time;
  if (events.length) memory.after = events[events.length - 1].number;
  write($("identity"), own);
  $("keyboard").hidden = !status.keyboard;
  write($("title"), `gossipfl · ${status.task}`);
  document.title = `${health.healthy ? "" : "⚠ "}${short(own)} · gossipfl`;
  const idle = health.paused ? "Paused" : health.waiting && health.healthy ? "Waiting" : "";
  showState(idle ? "paused" : health.healthy ? "healthy" : "problem", idle || (health.healthy ? "Learning" : "Needs attention"));
  showPolicy(status.policy, health);
  const problems = health.problems.map((each) => `${each.name}: ${each.text}`);
  $("problems").hidden = !problems.length;
  if (showPeer.problems !== problems.join()) {
    showPeer.problems = problems.join();
    $("problems").replaceChildren(...problems.map((each) => element("li", {}, each)));
  }
  write($("pause"), health.paused ? "Resume" : "Pause");
  $("pause").disabled = $("leave").disabled = !token;

  const isUnmeasured = status.keyboard && !Object.keys(status.metrics).length;
  const measured = Object.entries(status.metrics).find(([key]) => key !== "loss");
  const [name, value] = measured || (isUnmeasured ? [memory.measured || "recall", null] : ["loss", status.loss]);
  if (measured) memory.measured = name;
  const network = status.network, refused = Object.values(network.refused).reduce((a, b) => a + b, 0);
  const gate = status.gate ? Object.entries(status.gate.decisions) : [];
  const judged = gate.reduce((sum, [, count]) => sum + count, 0);
  const merges = status.peers.reduce((sum, each) => sum + each.merges, 0);
  showTiles([
    [name, shown(name, value), isUnmeasured ? `not yet: ${status.keyboard.messages ? "too little" : "nothing"} was typed` : "on this peer's own test samples"],
    ["Age of the model", whole(status.age), `saved at ${whole(status.saved_age)}`],
    ["Neighbours", `${status.connected} / ${status.neighbours}`, "connected / known"],
    ["Merges", whole(merges), judged ? `${whole(judged)} judged by the gate` : "in this start"],
    ["Rejections", whole(refused), "messages refused"],
    ["Received", bytes(network.bytes_received), `${whole(network.messages_received)} messages`],
    ["Sent", bytes(network.bytes_sent), `${whole(network.messages_sent)} messages`],
    ...estimateTiles(status.estimates, name),
  ]);
  const nodes = [{ id: own, label: "this", below: shown(name, value), state: "self" }];
  const edges = [];
  for (const peer of status.peers.slice(0, 40)) {
    nodes.push({ id: peer.peer_id, label: peer.peer_id.slice(-4), below: peer.model_age === null ? "" : `age ${peer.model_age}`, state: peer.quarantined ? "bad" : peer.connected ? "live" : "away" });
    if (peer.connected) edges.push({ from: own, to: peer.peer_id });
  }
  showGraph(nodes, edges, `${status.connected} of ${status.neighbours} known peers are connected. The table below has the same as text.`, own);
  events.slice(-24).forEach((event, index) => {
    const wait = (index * PERIOD) / 24;
    if (event.kind === "merge" || event.kind === "adopt") pulse(event.sender, own, "in", wait);
    if (event.kind === "refusal") pulse(event.sender, own, "bad", wait);
    if (event.kind === "exchange") pulse(own, event.neighbour, event.outcome === "ok" ? "out" : "bad", wait);
  });
  const past = memory.history;
  const rate = (key) => past.slice(5).map((each, index) => [each.time, Math.max(0, each[key] - past[index][key]) / Math.max(0.1, each.time - past[index].time)]);
  curve(name, past.map((each) => [each.time, each.metrics[name] ?? (status.keyboard ? null : each.loss)]), shown(name, value));
  for (const [key, unit] of [["merges", (n) => `${n.toFixed(1)} / s`], ["bytes_received", (n) => `${bytes(Math.round(n))} / s`]]) {
    const line = rate(key);
    curve(key, line, line.length ? unit(line[line.length - 1][1]) : "–");
  }
  if (status.estimates && status.estimates.consensus_distance !== null) {
    memory.distances = [...(memory.distances || []), [now, status.estimates.consensus_distance]].slice(-MOST_HISTORY);
    curve("consensus_distance_by_gossip", memory.distances, figure(status.estimates.consensus_distance));
  }
  rows($("peers"), status.peers.map((peer) => [
    [short(peer.peer_id), "", peer.peer_id], stateOf(peer), [whole(peer.model_age), "number"], [whole(peer.merges), "number"], [effectOf(peer.effect), "number"],
    [bytes(peer.bytes_received), "number"], [bytes(peer.bytes_sent), "number"],
    [peer.round_trip === null ? "–" : `${(1000 * peer.round_trip).toFixed(1)} ms`, "number"], [peer.codec || "–", ""], [ago(peer.last_success, now), ""],
  ]));
  showEvents(events);
}

function estimateTiles(estimates, name) {
  if (!estimates || !estimates.peers) return [];
  const metric = estimates.metric || name;
  return [
    ["Peers in the network", `${estimates.is_exact ? "" : "≈ "}${whole(estimates.peers)}`, `by gossip, from ${estimates.reports} reports`],
    [`Mean ${metric}`, shown(metric, estimates.mean), estimates.least === null ? "by gossip" : `${shown(metric, estimates.least)} … ${shown(metric, estimates.most)}`],
    ["Consensus distance", figure(estimates.consensus_distance), "by gossip, from sketches"],
  ];
}

function showDemo({ peers, phase, seconds, metric, consensus_distance, note }) {
  const up = peers.filter((each) => each.status && each.running);
  const values = up.map((each) => each.status.metrics[metric]).filter((each) => each !== null && each !== undefined);
  const mean = values.length ? values.reduce((a, b) => a + b, 0) / values.length : null;
  showState(up.length === peers.length ? "healthy" : "paused", phase);
  write($("metric"), metric);
  $("finish").disabled = !token;
  const sum = (key) => up.reduce((total, each) => total + each.status.network[key], 0);
  showTiles([
    ["Peers up", `${up.length} / ${peers.length}`, note],
    [`Mean ${metric}`, shown(metric, mean), values.length ? `worst ${shown(metric, Math.min(...values))}` : ""],
    ["Consensus distance", figure(consensus_distance), "of the saved models"],
    ["Messages", whole(sum("messages_received")), "received by all"],
    ["Exchanged", bytes(sum("bytes_received")), "received by all"],
    ["Seconds", seconds.toFixed(0), "since the start"],
  ]);
  const names = new Map(up.map((each) => [each.status.peer_id, each.index]));
  const nodes = peers.map((each) => ({ id: `${each.index}`, label: `${each.index}`, below: each.running && each.status ? shown(metric, each.status.metrics[metric]) : each.running ? "starting" : "killed", state: each.running ? "live" : "bad" }));
  const edges = [], gifts = [];
  for (const each of up) for (const other of each.status.peers) {
    const from = names.get(other.peer_id);
    if (from === undefined) continue;
    if (other.connected && from < each.index) edges.push({ from: `${from}`, to: `${each.index}` });
    const key = `${from}>${each.index}`, before = memory.before.get(key) ?? other.merges;
    if (other.merges > before) gifts.push([`${from}`, `${each.index}`]);
    memory.before.set(key, other.merges);
  }
  showGraph(nodes, edges, `${up.length} of ${peers.length} peers run. The table below has the same as text.`, null);
  gifts.forEach(([from, to], index) => pulse(from, to, "in", (index * PERIOD) / Math.max(1, gifts.length)));
  memory.history = [...memory.history, { time: seconds, mean, bytes: sum("bytes_received"), distance: consensus_distance }].slice(-MOST_HISTORY);
  curve(`mean_${metric}`, memory.history.map((each) => [each.time, each.mean]), shown(metric, mean));
  curve("consensus_distance", memory.history.map((each) => [each.time, each.distance]), figure(consensus_distance));
  const body = $("peers");
  peers.forEach((each) => {
    let row = $(`row-${each.index}`);
    if (!row) {
      const button = element("button", { type: "button" });
      button.addEventListener("click", async () => { button.disabled = true; await ask(`/api/peers/${each.index}/${button.dataset.wish}`); });
      row = element("tr", { id: `row-${each.index}` }, element("th", { scope: "row" }, `${each.index}`), element("td", {}, element("span", { class: "tag" })),
        ...Array.from({ length: 6 }, () => element("td", { class: "number" })), element("td", {}, button));
      body.append(row);
    }
    const status = each.status, cells = row.querySelectorAll("td"), tag = row.querySelector(".tag"), button = row.querySelector("button");
    const state = each.running ? (status ? ["running", "good"] : ["starting", "warn"]) : ["killed", "bad"];
    write(tag, state[0]);
    tag.className = `tag ${state[1]}`;
    const merged = status ? status.peers.reduce((total, other) => total + other.merges, 0) : null;
    [status && status.age, status && status.metrics[metric], merged, status && status.network.bytes_received, status && status.network.bytes_sent, status && status.connected].forEach((value, index) => {
      write(cells[index + 1], value === null || value === undefined ? "–" : index === 1 ? shown(metric, value) : index === 3 || index === 4 ? bytes(value) : whole(value));
    });
    const wish = each.running ? "kill" : "revive";
    if (button.dataset.wish !== wish) { button.dataset.wish = wish; button.className = wish === "kill" ? "danger" : ""; button.disabled = false; write(button, wish === "kill" ? "Kill" : "Revive"); button.setAttribute("aria-label", `${wish === "kill" ? "Kill" : "Revive"} peer ${each.index}`); }
    if (!token || each.is_fixed) button.disabled = true;
  });
}

async function look() {
  try {
    const path = isDemo ? "/api/demo" : `/api/view?after=${memory.after}&since=${memory.since}`;
    const answer = await fetch(path, { signal: AbortSignal.timeout(8000) });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    (isDemo ? showDemo : showPeer)(await answer.json());
    memory.failures = 0;
  } catch (error) {
    memory.failures += 1;
    if (memory.failures >= 2) {
      showState("gone", isDemo ? "The demo has ended" : "The peer does not answer");
      for (const button of document.querySelectorAll("button")) if (!button.closest("dialog")) button.disabled = true;
    }
  }
  setTimeout(look, PERIOD * Math.min(8, 1 + memory.failures));
}

if ($("pause")) {
  $("pause").addEventListener("click", () => ask($("pause").textContent === "Pause" ? "/api/pause" : "/api/resume"));
  $("leave").addEventListener("click", () => $("confirm").showModal());
  $("confirm").addEventListener("close", () => { if ($("confirm").returnValue === "yes") ask("/api/leave"); $("confirm").returnValue = ""; });
}
if ($("finish")) $("finish").addEventListener("click", () => ask("/api/finish"));
look();
