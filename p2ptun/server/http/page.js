// What the page does by itself: it completes commands, copies them, and asks how many rooms there are. The code that is
// typed goes into the command on this page and nowhere else.
"use strict";

const ASK_INTERVAL = 3000; // milliseconds between two looks at the counts
const LONGEST_INTERVAL = 60000; // while the server is away
const SAY_FOR = 2500; // how long a button says that it has copied

const find = (id) => document.getElementById(id);

function show(selector) {
  for (const element of document.querySelectorAll(selector)) element.hidden = false;
}

// Screen readers read out what changes, so nothing changes that stays the same.
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// --- Commands ---

function nameServer() {
  const unnamed = document.querySelector(".own-url");
  if (unnamed.hidden) return; // the server knows its name, and has put it there
  for (const element of document.querySelectorAll(".url")) element.textContent = location.origin;
  unnamed.hidden = true;
}

// Write a code as the command takes it. Nothing else than letters, digits and dashes goes into what people paste into a shell.
function plain(text) {
  return text.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
}

function judge(code) {
  if (code === "") return "As in 42-amber-tiger-lamp.";
  if (/^[0-9]+(-[a-z]+){3}$/.test(code)) return "The command is complete.";
  if (!/^[0-9]/.test(code)) return "A code begins with its number.";
  return code.split("-").length > 4 ? "A code has no more than three words." : "A number, and three words.";
}

function completeCommand() {
  const code = plain(find("code").value);
  find("typed").textContent = code && ` ${code}`;
  say(find("code-state"), judge(code));
}

// --- Copying ---

// Copy what an element says, where there is no clipboard for scripts: pages without TLS have none.
function copySelected(element) {
  const selection = getSelection();
  selection.selectAllChildren(element);
  const done = document.execCommand("copy");
  if (done) selection.removeAllRanges();
  return done;
}

async function copy(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  } catch {
    return copySelected(element);
  }
}

async function answer(button) {
  const done = await copy(find(button.dataset.copy));
  button.textContent = done ? "Copied" : "Ctrl-C";
  find("said").textContent = done ? "Copied." : "The command is selected. Copy it with Ctrl-C.";
  clearTimeout(button.timer);
  button.timer = setTimeout(() => {
    button.textContent = "Copy";
    find("said").textContent = "";
  }, SAY_FOR);
}

// --- Counts ---

let interval = ASK_INTERVAL;
let next = 0;

function showCounts(counts) {
  for (const element of document.querySelectorAll("[data-count]")) {
    element.textContent = counts[element.dataset.count].toLocaleString("en").replaceAll(",", "\u202f");
  }
}

function showState(isAway) {
  document.querySelector(".counts").classList.toggle("away", isAway);
  find("counts-state").classList.toggle("away", isAway);
  say(find("counts-state"), isAway ? "The server doesn't answer just now. These are the last numbers it gave." : "");
}

async function askCounts() {
  clearTimeout(next);
  try {
    const response = await fetch("/counts", { cache: "no-store", credentials: "omit", signal: AbortSignal.timeout?.(10000) });
    if (!response.ok) throw new Error(response.statusText);
    showCounts(await response.json());
    showState(false);
    interval = ASK_INTERVAL;
  } catch {
    showState(true);
    interval = Math.min(2 * interval, LONGEST_INTERVAL);
  }
  plan();
}

// Nobody looks at a page in the background: it asks nothing until it is seen again.
function plan() {
  clearTimeout(next);
  if (!document.hidden) next = setTimeout(askCounts, interval * (0.9 + 0.2 * Math.random()));
}

nameServer();
show(".entry, .copy");
find("code").addEventListener("input", completeCommand);
completeCommand(); // browsers keep what was typed when a page is loaded again
for (const button of document.querySelectorAll(".copy")) button.addEventListener("click", () => answer(button));
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(next) : askCounts()));
plan();
