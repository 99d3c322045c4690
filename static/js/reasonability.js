// The page of a reasonability trial: one to four maps of a picture, three questions about each.
import { Clock } from "./clock.js";
import { compose, VIEWS } from "./compose.js";
import { bitmap, mapBytes, pixels } from "./pictures.js";
import { isFree, Trial } from "./trial.js";

const TRUTHS = ["necessary", "unnecessary"];
const QUESTIONS = [...TRUTHS, "quality"];

const trial = new Trial();
const { page } = trial.data;
const clock = new Clock();
const form = document.getElementById("questions");
const groups = [...form.querySelectorAll("[data-map]")];
const plates = [...document.querySelectorAll(".plate.map")];
const sheets = [...document.querySelectorAll(".plate canvas")];
const slider = document.getElementById("strength");
const habits = { overlay: page.opacity, spotlight: 1, contour: 1, view: page.view, ...remembered() };
let view = VIEWS.includes(habits.view) ? habits.view : "overlay";
let bare = false;
let inHand = 0;
let picture = null;
let maps = [];

const input = (map, question) => groups[map].querySelectorAll(`[data-question=${question}] input`);
const chosen = (map, question) => [...input(map, question)].find((one) => one.checked)?.value ?? null;
const unanswered = (map) => QUESTIONS.filter((question) => chosen(map, question) === null);

/** How this person likes to look at maps, kept on this device. */
function remembered() {
  try {
    return JSON.parse(localStorage.getItem("harmony-look")) ?? {};
  } catch {
    return {};
  }
}

function remember(change) {
  Object.assign(habits, change);
  try {
    localStorage.setItem("harmony-look", JSON.stringify({ ...remembered(), ...change }));
  } catch {
    // Kept for this page only.
  }
}

// --- pictures ---------------------------------------------------------------------------------------------------

/** As many columns as make the pictures largest; on a telephone the stylesheet decides. */
function arrange() {
  const board = document.querySelector(".plates");
  board.style.gridTemplateColumns = "";
  board.style.removeProperty("--plate");
  if (window.innerWidth < 680 || window.innerHeight <= 520) return;
  const { width, height } = board.getBoundingClientRect();
  const caption = 52;
  const gap = 24;
  const aspect = sheets[0].width / sheets[0].height;
  let best = [0, 1];
  for (let columns = 1; columns <= sheets.length; columns += 1) {
    const rows = Math.ceil(sheets.length / columns);
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

function draw() {
  if (!picture) return;
  sheets.forEach((sheet, index) => {
    const map = index === 0 || bare ? null : maps[index - 1];
    compose(sheet.getContext("2d"), picture, map, view, habits[view], page.colormap);
  });
}

function look(next) {
  view = next;
  document.querySelector(`input[name=view][value=${view}]`).checked = true;
  slider.value = Math.round(habits[view] * 100);
  draw();
}

function peek(on) {
  if (bare === on) return;
  bare = on;
  if (on) clock.note("bare");
  draw();
}

for (const choice of document.querySelectorAll("input[name=view]")) {
  choice.addEventListener("change", () => {
    clock.note("view", choice.value);
    remember({ view: choice.value });
    look(choice.value);
  });
}
slider.addEventListener("input", () => {
  remember({ [view]: slider.value / 100 });
  draw();
});

// --- the map in hand --------------------------------------------------------------------------------------------

function take(map) {
  inHand = Math.max(0, Math.min(groups.length - 1, map));
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
  for (const box of groups[inHand].querySelectorAll("[data-question]")) {
    box.classList.toggle("next", box.dataset.question === next);
    if (chosen(inHand, box.dataset.question) !== null) box.classList.remove("missing");
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
  sheet.addEventListener("pointerdown", (event) => {
    if (index !== inHand) take(index);
    if (event.button === 0) peek(true);
  });
  for (const end of ["pointerup", "pointercancel", "pointerleave"]) sheet.addEventListener(end, () => peek(false));
  sheet.addEventListener("contextmenu", (event) => event.preventDefault());
});

form.addEventListener("change", (event) => {
  const question = event.target.closest("[data-question]")?.dataset.question;
  clock.note("answer", inHand, question, event.target.value);
  mark();
  trial.changed();
});
form.addEventListener("submit", (event) => event.preventDefault());

// --- keys -------------------------------------------------------------------------------------------------------

document.addEventListener("keydown", (event) => {
  if (!isFree(event) || event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.toLowerCase();
  if (key === "o") peek(true);
  else if (event.repeat) return;
  else if (key === "[") take(inHand - 1);
  else if (key === "]") take(inHand + 1);
  else if (key === "v") {
    look(VIEWS[(VIEWS.indexOf(view) + 1) % VIEWS.length]);
    clock.note("view", view);
    remember({ view });
  } else if (key === "y" || key === "n") {
    const focused = document.activeElement?.closest?.("[data-question]")?.dataset.question;
    const question = TRUTHS.find((one) => chosen(inHand, one) === null) ?? focused;
    if (TRUTHS.includes(question)) answer(question, key === "y" ? "yes" : "no");
  } else if (/^[1-5]$/.test(key)) answer("quality", key);
  else if (key === "backspace") undoLast();
  else if (key === "enter" && !event.target.closest("button, a, summary")) forward();
  else return;
  event.preventDefault();
});
document.addEventListener("keyup", (event) => {
  if (event.key.toLowerCase() === "o") peek(false);
});
window.addEventListener("blur", () => peek(false));

function undoLast() {
  const given = QUESTIONS.filter((question) => chosen(inHand, question) !== null);
  if (!given.length || document.body.classList.contains("locked")) return;
  for (const one of input(inHand, given[given.length - 1])) one.checked = false;
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
  collect: () => ({
    maps: groups.map((_, position) => {
      const said = { position };
      for (const question of TRUTHS) {
        const value = chosen(position, question);
        if (value !== null) said[question] = value === "yes";
      }
      const quality = chosen(position, "quality");
      if (quality !== null) said.quality = Number(quality);
      return said;
    }),
  }),
  restore(payload) {
    for (const one of form.querySelectorAll("input")) one.checked = false;
    for (const said of payload?.maps ?? []) {
      if (!groups[said.position]) continue;
      for (const question of QUESTIONS) {
        if (said[question] === undefined || said[question] === null) continue;
        const value = question === "quality" ? String(said.quality) : said[question] ? "yes" : "no";
        for (const one of input(said.position, question)) one.checked = one.value === value;
      }
    }
    take(inHand);
  },
  drawing: async () => null,
  check() {
    const map = groups.findIndex((_, index) => unanswered(index).length > 0);
    if (map === -1) return null;
    take(map);
    const missing = unanswered(map);
    for (const question of missing) groups[map].querySelector(`[data-question=${question}]`).classList.add("missing");
    groups[map].querySelector(`[data-question=${missing[0]}] input`).focus();
    return groups.length > 1 ? trial.words.missingMap.replace("%s", map + 1) : trial.words.missing;
  },
  lock(on) {
    for (const one of form.querySelectorAll("input")) one.disabled = on;
  },
};

async function begin() {
  const { width, height } = sheets[0];
  take(0);
  look(view);
  try {
    const [shown, ...values] = await Promise.all([
      bitmap(trial.data.urls.picture),
      ...trial.data.urls.maps.map((url) => mapBytes(url, width, height)),
    ]);
    picture = pixels(shown, width, height);
    maps = values;
  } catch {
    trial.say("bad", trial.words.noPicture, [[trial.words.reload, () => window.location.reload()]]);
    return;
  }
  draw();
  document.body.classList.remove("waiting");
  await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
  await trial.begin(adapter);
}

begin();
