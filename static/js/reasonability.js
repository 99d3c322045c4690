// The page of a reasonability trial: one to four maps of a picture, three questions about each.
import { Clock } from "./clock.js";
import { box, collect, lock, missing, restore, takeBack } from "./form.js";
import { isPlain } from "./shortcuts.js";
import { isFree, Trial } from "./trial.js";
import { Views } from "./views.js";

const TRUTHS = ["necessary", "unnecessary"];
const QUESTIONS = [...TRUTHS, "quality"];

const trial = new Trial();
const clock = new Clock();
const form = document.getElementById("answer-form");
const groups = [...form.querySelectorAll("[data-about]")];
const plates = [...document.querySelectorAll(".plate.map")];
const views = new Views(trial.data.page, clock);
let inHand = 0;

const input = (map, question) => groups[map].querySelectorAll(`[data-question=${question}] input`);
const chosen = (map, question) => [...input(map, question)].find((one) => one.checked)?.value ?? null;
const unanswered = (map) => QUESTIONS.filter((question) => chosen(map, question) === null);
const locked = () => document.body.classList.contains("locked");

/** As many columns as make the pictures largest; on a telephone the stylesheet decides. */
function arrange() {
  const board = document.querySelector(".plates");
  board.style.gridTemplateColumns = "";
  board.style.removeProperty("--plate");
  if (window.innerWidth < 680 || window.innerHeight <= 520) return;
  const { width, height } = board.getBoundingClientRect();
  const caption = 52;
  const gap = 24;
  const [first] = views.sheets;
  const aspect = first.width / first.height;
  let best = [0, 1];
  for (let columns = 1; columns <= views.sheets.length; columns += 1) {
    const rows = Math.ceil(views.sheets.length / columns);
    const wide = (width - gap * (columns - 1)) / columns;
    const high = (height - gap * (rows - 1)) / rows - caption;
    const size = Math.min(wide, high * aspect);
    if (size > best[0] * 1.02) best = [size, columns];
  }
  board.style.setProperty("--plate", `${Math.floor(Math.max(best[0], 120))}px`);
  board.style.gridTemplateColumns = `repeat(${best[1]}, ${Math.floor(Math.max(best[0], 120))}px)`;
}

arrange();
window.addEventListener("resize", arrange);

// --- the map in hand --------------------------------------------------------------------------------------------

function take(map) {
  const before = inHand;
  inHand = Math.max(0, Math.min(groups.length - 1, map));
  if (before !== inHand) clock.note("map", inHand);
  groups.forEach((group, index) => {
    // A control that is put away must not keep the keyboard.
    if (index !== inHand && group.contains(document.activeElement)) document.activeElement.blur();
    group.hidden = index !== inHand;
  });
  plates.forEach((plate, index) => {
    plate.classList.toggle("in-hand", index === inHand);
    plate.querySelector("button")?.setAttribute("aria-pressed", String(index === inHand));
  });
  mark();
}

/** Ticks the maps that are done and points at the question that a key would answer. */
function mark() {
  plates.forEach((plate, index) => {
    const tick = plate.querySelector("[data-done]");
    if (tick) tick.hidden = unanswered(index).length > 0;
  });
  const next = unanswered(inHand)[0];
  for (const group of groups[inHand].querySelectorAll("[data-question]")) {
    group.classList.toggle("next", group.dataset.question === next);
    if (chosen(inHand, group.dataset.question) !== null) group.classList.remove("missing");
  }
}

function answer(question, value) {
  const one = [...input(inHand, question)].find((candidate) => candidate.value === value);
  if (!one || one.disabled) return;
  one.checked = true;
  one.dispatchEvent(new Event("change", { bubbles: true }));
}

plates.forEach((plate, index) => {
  plate.querySelector("button")?.addEventListener("click", () => take(index));
  const sheet = plate.querySelector("canvas");
  sheet.addEventListener("pointerdown", () => {
    if (index !== inHand) take(index);
  });
  views.peekAt(sheet);
});

form.addEventListener("change", (event) => {
  clock.note("change", event.target.name, event.target.value);
  mark();
  trial.changed();
});
form.addEventListener("submit", (event) => event.preventDefault());

// --- keys -------------------------------------------------------------------------------------------------------

document.addEventListener("keydown", (event) => {
  if (!isFree(event) || !isPlain(event)) return;
  const key = event.key.toLowerCase();
  if (key === "o") views.peek(true);
  else if (event.repeat) return;
  else if (key === "[") take(inHand - 1);
  else if (key === "]") take(inHand + 1);
  else if (key === "v") views.step();
  else if (key === "y" || key === "j" || key === "n") {
    const focused = document.activeElement?.closest?.("[data-question]")?.dataset.question;
    const question = TRUTHS.find((one) => chosen(inHand, one) === null) ?? focused;
    if (TRUTHS.includes(question)) answer(question, key === "n" ? "no" : "yes");
  } else if (/^[1-5]$/.test(key)) answer("quality", key);
  else if (key === "backspace") undoLast();
  else if (key === "enter" && !event.target.closest("button, a, summary")) forward();
  else return;
  event.preventDefault();
});

function undoLast() {
  const given = QUESTIONS.filter((question) => chosen(inHand, question) !== null);
  if (!given.length || locked()) return;
  const name = `maps.${inHand}.${given.at(-1)}`;
  takeBack(form, name);
  clock.note("change", name, null);
  mark();
  trial.changed();
}

/** Enter: the next map that is not done, or send. */
function forward() {
  const open = groups.findIndex((_, map) => unanswered(map).length > 0);
  if (open !== -1 && open !== inHand && !unanswered(inHand).length) take(open);
  else trial.send();
}

// --- what the frame asks of this page ---------------------------------------------------------------------------

const adapter = {
  clock,
  collect: () => collect(form),
  restore(payload) {
    restore(form, payload);
    take(inHand);
  },
  drawing: async () => null,
  check() {
    const open = missing(form);
    if (!open) return null;
    const map = groups.findIndex((group) => group.contains(open));
    take(map);
    for (const question of unanswered(map)) box(input(map, question)[0]).classList.add("missing");
    open.focus();
    return groups.length > 1 ? trial.words.missingMap.replace("%s", map + 1) : trial.words.missing;
  },
  lock: (on) => lock(form, on),
};

async function begin() {
  take(0);
  try {
    await views.load(trial.data.urls);
  } catch {
    trial.say("bad", trial.words.noPicture, [[trial.words.reload, () => window.location.reload()]]);
    return;
  }
  await trial.begin(adapter);
}

begin();
