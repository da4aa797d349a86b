// Keeps the parts of an open page up to date. Texts, addresses and how soon to ask are the page's.
// A socket says that something has happened; what is true now is asked for. Without a socket, or
// without this script, the page shows the same a little later.
"use strict";

const { parts, socket: socketPath } = document.currentScript.dataset;
const USUAL_LOOK_S = 60;
const USUAL_LOOK_WITH_SOCKET_S = 300; // for the rare thing that a socket does not tell
const GATHER_MS = 40; // hints come in bursts: one look for all of them
const ANSWER_WITHIN_MS = 15_000;
const MAX_DELAY_S = 60;
const SILENCE_MS = 70_000; // two heartbeats and some
const UNREACHABLE_AFTER = 2; // looks without an answer
const SESSION_ENDED = 4401;

let etag = "";
let timer = 0;
let nextLookAt = Infinity;
let isLooking = false;
let lookAgain = false;
let unanswered = 0;

// --- Looking ---------------------------------------------------------------------------------

// Pages must not all ask at the same moment: not each minute, not after a restart of the server.
function spread(seconds) {
  return seconds * 1000 * (0.75 + 0.25 * Math.random());
}

function delayed(attempts) {
  return 1000 * Math.min(MAX_DELAY_S, 2 ** attempts) * (0.5 + Math.random());
}

function lookIn(milliseconds, looking) {
  clearTimeout(timer);
  nextLookAt = performance.now() + milliseconds;
  timer = setTimeout(looking, milliseconds);
}

function plannedInMs() {
  return nextLookAt - performance.now();
}

async function look() {
  clearTimeout(timer);
  if (isLooking) {
    lookAgain = true; // what is asked for now may have been read before it happened
    return;
  }
  isLooking = true;
  lookAgain = false;
  try {
    await ask();
    unanswered = 0;
  } catch {
    unanswered += 1;
  }
  isLooking = false;
  tellWhetherReachable();
  schedule();
}

async function ask() {
  const answer = await fetch(parts, {
    cache: "no-store",
    headers: etag ? { "If-None-Match": etag } : {},
    signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
  });
  const language = answer.headers.get("Content-Language");
  if (answer.status === 403 || (answer.ok && language !== document.documentElement.lang)) {
    startOver(); // logged out, somebody else, or another language: the whole page is another
  } else if (answer.ok) {
    show(await answer.text());
    etag = answer.headers.get("ETag") ?? "";
  } else if (answer.status !== 304) {
    throw new Error(`${parts} was answered ${answer.status}`);
  }
}

function startOver() {
  if (performance.now() > 3000) location.reload(); // never in a circle
}

function schedule() {
  const waiting = [...document.querySelectorAll("[data-look-after]")];
  if (unanswered) {
    lookIn(delayed(unanswered), look);
  } else if (lookAgain) {
    lookIn(GATHER_MS, look);
  } else if (waiting.length) {
    lookIn(spread(Math.min(...waiting.map((part) => Number(part.dataset.lookAfter)))), look);
  } else {
    lookIn(spread(usualLookS()), lookIfSeen);
  }
}

function lookIfSeen() {
  if (document.hidden) schedule();
  else look();
}

function usualLookS() {
  return socket?.readyState === WebSocket.OPEN ? USUAL_LOOK_WITH_SOCKET_S : USUAL_LOOK_S;
}

function tellWhetherReachable() {
  const place = document.getElementById("unreachable");
  const text = unanswered >= UNREACHABLE_AFTER ? place.dataset.text : "";
  if (place.textContent !== text) place.textContent = text;
}

// --- Showing ---------------------------------------------------------------------------------

function show(html) {
  const fresh = new DOMParser().parseFromString(html, "text/html");
  const sentences = [];
  for (const part of document.querySelectorAll("[data-live]")) {
    const now = fresh.getElementById(part.id);
    if (!now) continue;
    if (now.dataset.news && now.dataset.news !== part.dataset.news) {
      sentences.push(now.dataset.sentence);
    }
    become(part, now);
  }
  if (sentences.length) document.getElementById("news").textContent = sentences.join(" ");
}

// Turn one element into another, and leave alone what is the same: the focus stays where it is,
// and nothing moves that need not.
function become(old, now) {
  if (old.isEqualNode(now) || old.nodeName === "NOSCRIPT") return;
  for (const { name } of [...old.attributes]) {
    if (!now.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of now.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  becomeChildren(old, now);
}

function becomeChildren(old, now) {
  const kept = new Set([...now.children].map((child) => child.id));
  for (const child of [...old.children]) {
    if (child.id && !kept.has(child.id)) child.remove();
  }
  let place = old.firstChild;
  for (const child of now.childNodes) {
    if (place && isSame(place, child)) {
      if (child instanceof Element) become(place, child);
      else if (place.data !== child.data) place.data = child.data;
      place = place.nextSibling;
    } else {
      const moved = child.id && [...old.children].find((other) => other.id === child.id);
      old.insertBefore(moved || document.importNode(child, true), place);
      if (moved) become(moved, child);
    }
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

function isSame(one, other) {
  return one.nodeName === other.nodeName && (one.id ?? "") === (other.id ?? "");
}

// --- Hearing ---------------------------------------------------------------------------------

let socket = null;
let attempts = 0;
let reconnecting = 0;
let silence = 0;

function connect() {
  clearTimeout(reconnecting);
  if (!socketPath || (socket && socket.readyState <= WebSocket.OPEN)) return;
  const url = new URL(socketPath, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  const opened = socket = new WebSocket(url);
  opened.addEventListener("open", () => { hear(opened); lookSoon(); });
  opened.addEventListener("message", ({ data }) => {
    hear(opened);
    attempts = 0; // it works: one that was merely opened may be closed at once, again and again
    if (JSON.parse(data).type !== "live.heartbeat") lookSoon();
  });
  opened.addEventListener("close", ({ code }) => {
    if (socket !== opened) return; // another has taken its place
    clearTimeout(silence);
    if (code === SESSION_ENDED) lookSoon();
    // Sooner than with a socket; what is planned for soon is not put off by one more that is closed.
    else if (!isLooking && plannedInMs() > 1000 * USUAL_LOOK_S) schedule();
    attempts += 1;
    reconnecting = setTimeout(connect, delayed(attempts));
  });
}

// A connection can be dead and look open. Then it is as good as none.
function hear(opened) {
  clearTimeout(silence);
  silence = setTimeout(() => opened.close(), SILENCE_MS);
}

// Never later than is planned: hints without end would put it off for ever.
function lookSoon() {
  if (isLooking) lookAgain = true;
  else lookIn(Math.max(0, Math.min(GATHER_MS, plannedInMs())), look);
}

function comeBack() {
  if (document.hidden) return;
  lookSoon();
  connect();
}

document.addEventListener("visibilitychange", comeBack);
addEventListener("focus", comeBack);
addEventListener("online", comeBack);
addEventListener("pageshow", ({ persisted }) => { if (persisted) comeBack(); });
schedule();
connect();
