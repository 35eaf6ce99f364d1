// The threshold page: what a threshold would reject and miss, as it is moved, and letting one hold.
"use strict";

const address = document.querySelector("main").dataset.address;
const find = (id) => document.getElementById(id);
const [message, person, slider, number, why] = ["message", "person", "slider", "number", "why"].map(find);
const MOST_CARDS = 60; // of a kind
const STEPS = 1000; // of the slider
const LANES = { night: ["last nights", 62], defect: ["known defects", 142] }; // of the drawing: name, middle
const SPREAD = 44, EDGE = 12;
let trial = null;
let low = 0, high = 1; // scores at the ends of the drawing
let threshold = 0;

const short = (score) => Number(score).toPrecision(4);
const count = (whole, one, many) => `${whole} ${whole === 1 ? one : many}`;
const isAbove = (image) => image.score > threshold;
const night = () => trial.images.filter((image) => !image.defect);
const defects = () => trial.images.filter((image) => image.defect);

function say(sentence, isBad = true) {
  message.replaceChildren();
  if (!sentence) return;
  const line = document.createElement("p");
  line.className = isBad ? "bad" : "good";
  line.textContent = sentence;
  message.append(line);
}

async function ask(where, form) {
  const headers = { "HX-Request": "true" };
  const asked = form ? { method: "POST", headers, body: new URLSearchParams(form) } : { headers };
  let answer;
  try {
    answer = await fetch(where, asked);
  } catch {
    say("The page does not answer: try again.");
    return null;
  }
  if (answer.ok) return answer.json();
  const part = new DOMParser().parseFromString(await answer.text(), "text/html");
  say(part.body.textContent.trim());
  return null;
}

function svg(name, fields) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [field, value] of Object.entries(fields)) made.setAttribute(field, value);
  return made;
}

const placeOf = (score) => EDGE + ((find("dots").clientWidth - 2 * EDGE) * (score - low)) / (high - low);

function draw() {
  const dots = find("dots");
  dots.replaceChildren();
  for (const [name, y] of Object.values(LANES)) {
    const label = svg("text", { x: EDGE, y: y - SPREAD / 2 - 8 });
    label.textContent = name;
    dots.append(label);
  }
  trial.images.forEach((image, index) => {
    const [, lane] = image.defect ? LANES.defect : LANES.night;
    const y = lane + (((index * 0.618) % 1) - 0.5) * SPREAD; // spread out, so that equal ones are seen
    dots.append(svg("circle", { cx: placeOf(image.score), cy: y, r: 4, class: image.defect ? "defect" : "night" }));
  });
  for (const [name, score] of [["calibrated", trial.calibrated], ["force", trial.in_force]]) {
    const x = placeOf(score);
    dots.append(svg("line", { x1: x, x2: x, y1: 0, y2: "100%", class: name }));
  }
  dots.append(svg("line", { id: "tried", y1: 0, y2: "100%", class: "tried" }));
}

function fill(id, images) {
  find(id).replaceChildren(...images.slice(0, MOST_CARDS).map((image) => {
    const card = document.createElement("figure");
    card.className = `card ${image.defect ? "defect" : ""}`;
    const picture = document.createElement("img");
    Object.assign(picture, { src: `${address}/pictures/${image.ref}.jpg`, loading: "lazy", alt: image.name, title: `${image.night} ${image.name}` });
    const foot = document.createElement("footer");
    const what = document.createElement("b"), score = document.createElement("i");
    what.textContent = image.defect || image.night.slice(5);
    score.textContent = Number(image.score).toPrecision(3);
    foot.append(what, score);
    card.append(picture, foot);
    return card;
  }));
}

function paint() {
  const [all, known] = [night(), defects()];
  const rejected = all.filter(isAbove).sort((a, b) => b.score - a.score);
  const missed = known.filter((image) => !isAbove(image)).sort((a, b) => b.score - a.score);
  const usual = {
    rejected: all.filter((image) => image.score > trial.in_force).length,
    missed: known.filter((image) => image.score <= trial.in_force).length,
  };
  const x = placeOf(threshold);
  find("tried").setAttribute("x1", x);
  find("tried").setAttribute("x2", x);
  find("said").replaceChildren(
    bold(`${rejected.length} of ${all.length}`), ` image${all.length === 1 ? "" : "s"} of the last nights would be rejected (${usual.rejected} today), `,
    bold(`${missed.length} of ${known.length}`), ` known defect${known.length === 1 ? "" : "s"} missed (${usual.missed} today).`,
  );
  const more = (images) => (images.length > MOST_CARDS ? `, the ${MOST_CARDS} nearest or highest` : "");
  find("missed-title").textContent = missed.length ? `Missed: ${count(missed.length, "known defect", "known defects")}${more(missed)}` : "No known defect missed";
  find("rejected-title").textContent = rejected.length ? `Rejected: ${count(rejected.length, "image", "images")} of the last nights${more(rejected)}` : "No image of the last nights rejected";
  fill("missed", missed);
  fill("rejected", rejected);
}

function bold(text) {
  const made = document.createElement("b");
  made.textContent = text;
  return made;
}

function move(to, isTyped = false) {
  const isNumber = to > 0 && Number.isFinite(to);
  find("set").disabled = !isNumber; // what stands in the field is what would hold
  if (!isNumber) return;
  threshold = to;
  slider.value = String(Math.round((STEPS * (to - low)) / (high - low)));
  if (!isTyped) number.value = short(to);
  paint();
}

function list() {
  find("settings").replaceChildren(...trial.settings.map((said) => {
    const line = document.createElement("li");
    line.textContent = `set to ${said}`;
    return line;
  }));
  const lenient = Object.entries(trial.nights).filter(([, held]) => held > trial.in_force).map(([each]) => each);
  find("again").textContent = lenient.length
    ? `${count(lenient.length, "night was", "nights were")} held against a higher threshold, ${lenient[0]} to ${lenient[lenient.length - 1]}: what that let pass may be learnt until they are run again (reconad nightly).`
    : "";
  find("version").textContent =
    `Version ${trial.version} serves. Its calibrated threshold is ${short(trial.calibrated)}` +
    (trial.in_force === trial.calibrated ? ", and it holds." : `; ${short(trial.in_force)} was set and holds.`);
}

async function hold(value) {
  if (!person.value.trim()) {
    say("Write your name first: a threshold says whose it is.");
    person.focus();
    return;
  }
  if (!why.value.trim()) {
    say("Say why first: whoever comes after you wants to know.");
    why.focus();
    return;
  }
  say("");
  const form = { version: trial.version, threshold: value, by: person.value, why: why.value, seen: trial.seen };
  const done = await ask(address, form);
  if (done === null) return;
  Object.assign(trial, done, { in_force: value === "" ? trial.calibrated : Number(value) });
  why.value = "";
  list();
  draw();
  move(trial.in_force);
  say(`${short(trial.in_force)} holds now.`, false);
}

async function begin() {
  trial = await ask(`${address}/trial`);
  find("gathering").hidden = true;
  if (trial === null) return;
  const scores = [...trial.images.map((image) => image.score), trial.calibrated, trial.in_force];
  [low, high] = [Math.min(...scores), Math.max(...scores)];
  const margin = (high - low || high || 1) * 0.03;
  [low, high] = [Math.max(0, low - margin), high + margin];
  find("trial").hidden = false;
  list();
  draw();
  move(trial.in_force);
}

slider.addEventListener("input", () => move(low + ((high - low) * Number(slider.value)) / STEPS));
number.addEventListener("input", () => move(Number(number.value), true));
addEventListener("resize", () => {
  if (trial === null) return;
  draw();
  paint();
});
find("set").addEventListener("click", () => hold(String(threshold)));
find("back").addEventListener("click", () => hold(""));
person.value = sessionStorage.getItem("person") ?? "";
person.addEventListener("input", () => sessionStorage.setItem("person", person.value));
begin();
