"use strict";
// A page to type on. What is typed goes to this peer alone, which keeps it encrypted; the token goes with every request.

const $ = (id) => document.getElementById(id);
const PERIOD = 2000;
const ROWS = {
  letters: ["qwertyuiop", "asdfghjkl", "⇧zxcvbnm⌫", "#, .⏎"],
  signs: ["1234567890", "-/:;()&@\"", "'!?+*=%_⌫", "#, .⏎"],
};
const NAMES = { "⇧": "Shift", "⌫": "Delete", "⏎": "Send", "#": "Digits and signs", " ": "Space" };
const HALF_TYPED = /(?:[\p{L}\p{M}]|(?<=\p{L})['’])*$/u;

const fragment = new URLSearchParams(location.hash.slice(1));
if (fragment.get("token")) {
  sessionStorage.setItem("token", fragment.get("token"));
  history.replaceState(null, "", location.pathname);
}
const token = sessionStorage.getItem("token");
$("hint").hidden = Boolean(token);

const text = $("text"), offered = [...$("suggestions").children];
const typing = { message: 1000 * Date.now(), kept: "", wanted: new Map(), isKeeping: false, asked: 0, answered: 0, shifted: false, plane: "letters" };

const bytes = (n) => (n < 1e3 ? `${n} B` : n < 1e6 ? `${(n / 1e3).toFixed(1)} kB` : `${(n / 1e6).toFixed(1)} MB`);
const ago = (t) => { if (!t) return "not yet"; const s = Math.max(0, Date.now() / 1000 - t); return s < 2 ? "just now" : s < 90 ? `${Math.round(s)} s ago` : s < 5400 ? `${Math.round(s / 60)} min ago` : `${Math.round(s / 3600)} h ago`; };
const percent = (share) => `${(100 * share).toFixed(0)} %`;
// Replaces content only where it changed: a screen reader and the selection keep their place.
function write(node, said) { if (node.textContent !== said) node.textContent = said; }

function tell(said) {
  write($("said"), said);
  $("said").hidden = false;
  clearTimeout(tell.timer);
  tell.timer = setTimeout(() => { $("said").hidden = true; }, 5000);
}

async function ask(path, values = {}) {
  const answer = await fetch(path, {
    method: "POST", body: JSON.stringify(values),
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
  });
  const said = await answer.json();
  if (!answer.ok) throw new Error(`${said.error.message}. ${said.error.remedy || ""}`);
  return said;
}
async function attempt(work) { try { return await work(); } catch (error) { tell(error instanceof TypeError ? "The peer does not answer." : error.message); return null; } }

// Suggestions: the newest question wins, and a late answer to an older one is not shown.
async function suggest() {
  const number = ++typing.asked, before = text.value.slice(0, text.selectionStart);
  try {
    const { suggestions } = await ask("/api/keyboard/suggest", { text: before.slice(-2000) });
    if (number < typing.answered) return;
    typing.answered = number;
    show(suggestions);
  } catch { show([]); }
}
function show(words) {
  offered.forEach((button, place) => {
    write(button, words[place] || "");
    button.disabled = !words[place];
  });
  write($("heard"), words.length ? `Suggestions: ${words.join(", ")}. Press Tab to choose.` : "");
}
function take(word) {
  const end = text.selectionStart, before = text.value.slice(0, end), after = text.value.slice(end);
  const start = before.length - before.match(HALF_TYPED)[0].length;
  text.setRangeText(`${word}${after.startsWith(" ") ? "" : " "}`, start, end, "end");
  text.focus();
  changed();
}

// Keeping: whole words as they are finished, one request at a time, and of each message the newest state.
function keep(said) {
  if (!$("remember").checked || said === typing.kept) return;
  typing.wanted.set(typing.message, said);
  typing.kept = said;
  if (!typing.isKeeping) keepAll();
}
async function keepAll() {
  typing.isKeeping = true;
  while (typing.wanted.size) {
    const [message, said] = typing.wanted.entries().next().value;
    typing.wanted.delete(message);
    try {
      await ask("/api/keyboard/typed", { message, text: said });
      showKept("");
    } catch (error) {
      if (message === typing.message) typing.kept = "";
      showKept(error instanceof TypeError ? "Not kept: the peer does not answer." : `Not kept: ${error.message}`);
    }
  }
  typing.isKeeping = false;
}
function showKept(trouble) {
  const said = $("remember").checked ? "Kept on this device alone, encrypted." : "Not kept, and not learned.";
  write($("kept"), trouble || said);
  $("kept").classList.toggle("bad", Boolean(trouble));
}

function changed() {
  keep(text.value.replace(/\S+$/u, ""));
  showShift();
  suggest();
}
function send() {
  const said = text.value.trim();
  if (!said) return;
  keep(text.value);
  const item = document.createElement("li");
  item.textContent = said;
  $("sent").append(item);
  item.scrollIntoView({ block: "nearest" });
  text.value = "";
  typing.message = Math.max(typing.message + 1, 1000 * Date.now());
  typing.kept = "";
  showShift();
  suggest();
}

// The keys.
const startsSentence = () => /(?:^|[.!?…]\s+|\n)$/u.test(text.value.slice(0, text.selectionStart));
const isShifted = () => typing.shifted !== startsSentence();
function press(key) {
  text.focus();
  if (key === "⇧") { typing.shifted = !typing.shifted; showShift(); return; }
  if (key === "#") { typing.plane = typing.plane === "letters" ? "signs" : "letters"; drawKeys(); return; }
  if (key === "⏎") { send(); return; }
  const start = text.selectionStart, end = text.selectionEnd;
  if (key === "⌫") {
    const last = start === end ? [...text.value.slice(0, start)].pop() || "" : "";
    text.setRangeText("", start - last.length, end, "end");
  } else {
    text.setRangeText(isShifted() ? key.toUpperCase() : key, start, end, "end");
    typing.shifted = false;
  }
  changed();
}
function drawKeys() {
  $("keys").replaceChildren(...ROWS[typing.plane].map((row) => {
    const line = document.createElement("div");
    for (const key of row) {
      const button = document.createElement("button");
      Object.assign(button, { type: "button", className: `key${NAMES[key] ? " wide" : ""}${key === " " ? " space" : ""}`, tabIndex: -1 });
      button.dataset.key = key;
      button.textContent = key === "#" ? (typing.plane === "letters" ? "123" : "abc") : key === "⏎" ? "Send" : key;
      if (NAMES[key]) button.setAttribute("aria-label", NAMES[key]);
      button.addEventListener("pointerdown", (event) => event.preventDefault());
      button.addEventListener("click", () => press(key));
      line.append(button);
    }
    return line;
  }));
  showShift();
}
function showShift() {
  const up = isShifted();
  for (const button of $("keys").querySelectorAll("[data-key]")) {
    const key = button.dataset.key;
    if (/^[a-z]$/.test(key)) write(button, up ? key.toUpperCase() : key);
    if (key === "⇧") button.setAttribute("aria-pressed", String(up));
  }
}

// The panels.
function showOverview(now, health) {
  document.querySelector(".state").dataset.state = health.problems.length ? "problem" : health.paused ? "paused" : "healthy";
  const waits = (now.waits || "").replace(/^training waits: /, "Waits: ");
  write($("state"), health.problems.length ? health.problems[0].text : health.paused ? "Paused" : now.trains ? "Learning" : waits);
  write($("pause"), health.paused ? "Go on learning" : "Pause learning");
  showLoop(now);
  const days = Object.entries(now.left.days), today = days.length ? days[days.length - 1][1] : 0;
  write($("left-text"), `${bytes(today)} today, in models and control messages. ${now.noisy ? "No text." : "No text; but without noise, models tell neighbours which words were typed."}`);
  $("left").replaceChildren(...now.left.latest.slice(0, 50).map((each) => row([new Date(1000 * each.time).toLocaleTimeString("en-GB"), `…${each.to.slice(-8)}`, bytes(each.bytes)], each.to)));
  const { words, new_words: fresh, mixture } = now.today;
  const own = mixture.words ? ` Your own words weigh ${percent(mixture.weight)} in suggestions: of the last ${mixture.words} words you wrote, ${percent(mixture.personal)} were among three suggestions, ${percent(mixture.shared)} by the shared model alone.` : "";
  write($("learned-text"), `${words} ${words === 1 ? "word" : "words"} typed.${own}`);
  showNewWords(fresh);
}
function showLoop({ loop, condensed, trains }) {
  for (const item of $("loop").children) {
    const { part } = item.dataset, done = loop[part];
    const said = part === "condensed" ? `${condensed.codec}: ${bytes(condensed.bytes)} instead of ${bytes(condensed.whole)}`
      : part === "improved" && !trains ? `${done.count} times; not now` : `${done.count} times, ${ago(done.time)}`;
    write(item.querySelector("span"), said);
    item.classList.toggle("now", Boolean(done && done.time && Date.now() / 1000 - done.time < 3));
  }
}
function showNewWords(words) {
  const key = words.join(" ");
  if (showNewWords.key === key) return;
  showNewWords.key = key;
  $("new-words").replaceChildren(...words.map((word) => {
    const item = document.createElement("li"), button = document.createElement("button");
    Object.assign(button, { type: "button", textContent: "×" });
    button.setAttribute("aria-label", `Forget ${word}`);
    button.addEventListener("click", () => forget({ word }));
    item.append(word, button);
    return item;
  }));
}
function row(cells, title) {
  const made = document.createElement("tr");
  cells.forEach((cell, place) => {
    const part = document.createElement("td");
    part.textContent = cell;
    if (place === 1) part.title = title;
    if (place === 2) part.className = "number";
    made.append(part);
  });
  return made;
}
async function forget(what) {
  const said = await attempt(() => ask("/api/keyboard/forget", what));
  if (!said) return;
  $("sent").replaceChildren();
  tell(said.forgotten === 1 ? "One message forgotten." : `${said.forgotten} messages forgotten.`);
  suggest();
  look();
}

async function look() {
  try {
    const [now, health] = await Promise.all([ask("/api/keyboard/overview"), fetch("/healthz").then((answer) => answer.json())]);
    look.paused = health.paused;
    showOverview(now, health);
    if (offered.some((button) => button.disabled)) suggest();  // the personal model may know more by now
  } catch {
    document.querySelector(".state").dataset.state = "gone";
    write($("state"), "The peer does not answer");
  }
}

function begin() {
  drawKeys();
  if (!token) { write($("state"), "No token"); return; }
  for (const each of [text, $("pause"), $("forget-all"), ...document.querySelectorAll(".line button")]) each.disabled = false;
  text.addEventListener("input", changed);
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); }
  });
  for (const button of offered) {
    button.addEventListener("pointerdown", (event) => event.preventDefault());
    button.addEventListener("click", () => take(button.textContent));
  }
  $("remember").addEventListener("change", () => { typing.kept = ""; typing.message = Math.max(typing.message + 1, 1000 * Date.now()); showKept(""); });
  $("pause").addEventListener("click", async () => { await attempt(() => ask(look.paused ? "/api/resume" : "/api/pause")); });
  $("forget-word").addEventListener("submit", (event) => { event.preventDefault(); const word = $("word").value; $("word").value = ""; if (word.trim()) forget({ word }); });
  $("forget-day").addEventListener("submit", (event) => { event.preventDefault(); if ($("day").value) forget({ day: $("day").value }); });
  $("forget-all").addEventListener("click", () => { $("confirm").showModal(); });
  $("confirm").addEventListener("close", () => { if ($("confirm").returnValue === "yes") forget({ everything: true }); $("confirm").returnValue = ""; });
  text.focus();
  suggest();
  look();
  setInterval(() => { if (!document.hidden) look(); }, PERIOD);
}
begin();
