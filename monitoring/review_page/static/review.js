// The night page: keys, choosing several images, and what follows a decision.
"use strict";

const desk = document.querySelector(".desk");
const address = desk.dataset.address;
const cards = document.getElementById("cards");
const stage = document.getElementById("stage");
const message = document.getElementById("message");
const person = document.getElementById("person");
const defect = document.getElementById("defect");
const keys = document.getElementById("keys");
const chosen = new Set(); // refs of several images
let undoable = []; // what was decided here and nobody else has changed since, oldest first: lists of refs
let current = null; // ref of the image on the stage
let lastPicked = null;
let isBusy = false;

const all = () => [...cards.children];
const cardOf = (ref) => document.getElementById(`i-${ref}`);
const isWaiting = (card) => card.classList.contains("waiting");
const isLost = (ref) => "lost" in cardOf(ref).dataset; // somebody else had decided on it

function show(ref) {
  const card = ref && cardOf(ref);
  if (!card) return;
  current = ref;
  card.scrollIntoView({ block: "nearest", inline: "nearest" });
  history.replaceState(null, "", `#${ref}`);
  htmx.ajax("GET", `${address}/images/${ref}`, { source: stage, target: stage, swap: "innerHTML" });
  const next = card.nextElementSibling;
  if (next) new Image().src = `${address}/pictures/${next.dataset.ref}/shown.jpg`;
  paint();
}

function step(by) {
  const list = all();
  const at = list.findIndex((card) => card.dataset.ref === current);
  const to = list[Math.min(list.length - 1, Math.max(0, at + by))];
  if (to && to.dataset.ref !== current) show(to.dataset.ref);
}

function showNextWaiting(after) {
  const list = all();
  const at = list.findIndex((card) => card.dataset.ref === after);
  const next = [...list.slice(at + 1), ...list.slice(0, at + 1)].find(isWaiting);
  show(next ? next.dataset.ref : after);
}

function paint() {
  for (const card of all()) {
    const isChosen = chosen.has(card.dataset.ref);
    card.classList.toggle("chosen", isChosen);
    card.querySelector(".pick").setAttribute("aria-pressed", String(isChosen));
    if (card.dataset.ref === current) card.setAttribute("aria-current", "true");
    else card.removeAttribute("aria-current");
  }
  const count = chosen.size;
  document.getElementById("chosen").textContent =
    count ? `${count} image${count > 1 ? "s" : ""} chosen: what you decide is said of all of them` : "";
}

function pick(ref, isRow) {
  if (isRow && lastPicked) {
    const refs = all().map((card) => card.dataset.ref);
    const [from, to] = [refs.indexOf(lastPicked), refs.indexOf(ref)].sort((a, b) => a - b);
    refs.slice(Math.max(0, from), to + 1).forEach((each) => chosen.add(each));
  } else if (chosen.has(ref)) {
    chosen.delete(ref);
  } else {
    chosen.add(ref);
  }
  lastPicked = ref;
  paint();
}

function say(sentence) {
  message.replaceChildren();
  if (!sentence) return;
  const line = document.createElement("p");
  line.className = "bad";
  line.textContent = sentence;
  message.append(line);
}

async function send(where, refs, fields) {
  if (isBusy || !refs.length) return false;
  if (!person.value.trim()) {
    say("Write your name first: a decision says whose it is.");
    person.focus();
    return false;
  }
  isBusy = true;
  document.body.classList.add("busy");
  say("");
  const image = refs.map((ref) => `${ref}.${cardOf(ref).dataset.mark}`);
  let isDone = false;
  const note = (event) => { isDone = event.detail.xhr.status === 200; };
  message.addEventListener("htmx:afterRequest", note, { once: true });
  try {
    await htmx.ajax("POST", `${address}/${where}`, {
      source: message, target: message, swap: "innerHTML", values: { ...fields, by: person.value, image },
    });
  } catch {
    // htmx rejects where nothing answers; what is said of it follows
  } finally {
    isBusy = false;
    document.body.classList.remove("busy");
  }
  if (!message.textContent.trim() && !isDone) say("The page does not answer: try again.");
  paint();
  return isDone;
}

const targets = () => (chosen.size ? [...chosen] : current ? [current] : []);

async function decide(decision, name = "") {
  const refs = targets();
  const isDone = await send("decisions", refs, { decision, defect: name });
  if (!isDone) return;
  keepUndoable([...undoable, refs]);
  remember(name);
  defect.value = "";
  chosen.clear();
  showNextWaiting(refs[refs.length - 1]);
}

function keepUndoable(lists) {
  undoable = lists.map((refs) => refs.filter((ref) => !isLost(ref))).filter((refs) => refs.length);
}

async function undo() {
  const last = undoable[undoable.length - 1];
  const refs = last ?? targets().filter((ref) => !isWaiting(cardOf(ref)) && !isLost(ref));
  if (!refs.length) {
    say("There is nothing of yours to undo here.");
    return;
  }
  if (!(await send("decisions", refs, { decision: "waiting", defect: "" }))) return;
  keepUndoable(undoable.filter((each) => each !== last));
  show(refs[0]);
}

async function chooseGolden() {
  const refs = targets();
  const isAll = refs.every((ref) => "golden" in cardOf(ref).dataset);
  if (await send("golden", refs, { golden: isAll ? "take" : "put" })) show(current);
}

function names() {
  return [...document.querySelectorAll("#known option")].map((option) => option.value);
}

function remember(name) {
  const known = name.trim().replace(/\s+/g, " ");
  if (known && !names().includes(known)) {
    const option = document.createElement("option");
    option.value = known;
    document.getElementById("known").append(option);
  }
  paintNames();
}

function paintNames() {
  const buttons = names().slice(0, 9).map((name, index) => {
    const button = document.createElement("button");
    const key = document.createElement("kbd");
    key.textContent = String(index + 1);
    button.type = "button";
    button.append(name, " ", key);
    button.addEventListener("click", () => decide("defect", name));
    return button;
  });
  document.getElementById("names").replaceChildren(...buttons);
}

function toggleOverlay() {
  const isShown = document.body.classList.toggle("with-map");
  sessionStorage.setItem("map", isShown ? "yes" : "");
}

function chooseAll() {
  all().filter(isWaiting).forEach((card) => chosen.add(card.dataset.ref));
  paint();
}

function chooseNone() {
  chosen.clear();
  paint();
}

const toggleKeys = () => (keys.open ? keys.close() : keys.showModal());

const deeds = {
  normal: () => decide("normal"),
  defect: () => decide("defect", defect.value),
  undo, golden: chooseGolden, overlay: toggleOverlay, all: chooseAll, none: chooseNone,
};

const onKey = {
  n: deeds.normal, d: deeds.defect, u: undo, g: chooseGolden, o: toggleOverlay, a: chooseAll,
  e: () => defect.focus(),
  x: () => current && pick(current, false),
  "?": toggleKeys,
  arrowright: () => step(1), arrowdown: () => step(1), j: () => step(1),
  arrowleft: () => step(-1), arrowup: () => step(-1), k: () => step(-1),
  escape: chooseNone,
  enter: () => document.getElementById("whole")?.click(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target instanceof HTMLInputElement) {
    if (event.key === "Escape") event.target.blur();
    if (event.key === "Enter") {
      event.target.blur();
      if (event.target === defect) deeds.defect();
    }
    return;
  }
  if (keys.open && event.key !== "?") return;
  if (event.key === "Enter" && event.target.closest("button, a, summary")) return;
  const known = names()[Number(event.key) - 1];
  const deed = onKey[event.key.toLowerCase()] ?? (known && (() => decide("defect", known)));
  if (!deed || event.repeat && !event.key.startsWith("Arrow")) return;
  event.preventDefault();
  deed();
});

document.addEventListener("click", (event) => {
  const card = event.target.closest(".card");
  if (card) {
    if (event.shiftKey || event.target.closest(".pick")) pick(card.dataset.ref, event.shiftKey);
    else show(card.dataset.ref);
    if (!event.shiftKey) lastPicked = card.dataset.ref;
    return;
  }
  const button = event.target.closest("[data-do]");
  if (button) {
    deeds[button.dataset.do]();
    button.blur();
  }
});

document.getElementById("help").addEventListener("click", toggleKeys);
document.getElementById("close").addEventListener("click", toggleKeys);
// the name lives as long as this tab: nobody decides in the name of the last shift
person.value = sessionStorage.getItem("person") ?? "";
person.addEventListener("input", () => sessionStorage.setItem("person", person.value));
document.body.classList.toggle("with-map", sessionStorage.getItem("map") === "yes");
paintNames();
const first = cardOf(location.hash.slice(1)) ?? all().find(isWaiting) ?? all()[0];
if (first) show(first.dataset.ref);
