// The page of a preference trial: two maps of a picture. One key or one press chooses and goes on; on the scale a point
// is chosen first and sent then.
import { Clock } from "./clock.js";
import { box, collect, forKey, lock, missing, restore, takeBack } from "./form.js";
import { isFree, Trial } from "./trial.js";
import { Views } from "./views.js";

const GAP = 24;
const CAPTION = 32;
const SMALLEST = 120;

const trial = new Trial();
const clock = new Clock();
const form = document.getElementById("answer-form");
const stage = document.querySelector(".stage");
const board = document.querySelector(".pair");
const plates = [...document.querySelectorAll(".plate.map")];
const atOnce = document.body.classList.contains("at-once");
const views = new Views(trial.data.page, clock);
let ready = false;

const busy = () => !ready || document.body.classList.contains("locked");
const within = (least, value, most) => Math.max(least, Math.min(value, most));

// --- how large everything is ------------------------------------------------------------------------------------

/** The picture between the maps or above them, whichever leaves the maps larger; both maps are always of one size. */
function arrange() {
  const [sheet] = views.sheets;
  const aspect = sheet.width / sheet.height;
  const place = board.getBoundingClientRect();
  const { width } = place;
  const below = parseFloat(getComputedStyle(stage).paddingBottom);
  const height = stage.getBoundingClientRect().bottom - stage.scrollTop - below - place.top;
  const narrow = window.innerWidth < 680;
  const gap = narrow ? GAP / 3 : GAP;

  const middle = within(176, width * 0.17, 260);
  const beside = narrow ? 0 : Math.min((width - middle - 2 * gap) / 2, (height - CAPTION) * aspect);
  const top = within(88, height * 0.24, 200);
  const above = Math.min((width - gap) / 2, (height - top - gap - CAPTION) * aspect);

  const layout = beside * 1.02 >= above ? "beside" : "above";
  const plate = Math.floor(Math.max(layout === "beside" ? beside : above, SMALLEST));
  const rest = Math.max(height - plate / aspect - gap - CAPTION, top) * aspect;
  const small = layout === "beside" ? Math.min(middle, plate) : within(88, rest, plate * 0.8);
  document.body.dataset.layout = layout;
  for (const [name, value] of Object.entries({ plate, middle, small, gap })) {
    document.body.style.setProperty(`--${name}`, `${Math.floor(value)}px`);
  }
}

arrange();
new ResizeObserver(arrange).observe(stage); // also when a line above the keys takes some of its height

// --- choosing ---------------------------------------------------------------------------------------------------

function mark() {
  const [left, right] = plates;
  const payload = collect(form);
  left.classList.toggle("chosen", payload.choice === "a" || payload.preference < 0);
  right.classList.toggle("chosen", payload.choice === "b" || payload.preference > 0);
  for (const one of form.querySelectorAll(".missing")) one.classList.remove("missing");
}

function choose(control) {
  if (busy() || !control) return;
  control.checked = true;
  clock.note("change", control.name, control.value);
  mark();
  if (atOnce) trial.send();
  else trial.changed();
}

// A click is what a press ends in, on release; a choice that stands already may be sent again after a change of mind.
form.addEventListener("click", (event) => {
  if (event.target.matches("input[type=radio]") && atOnce) choose(event.target);
});
form.addEventListener("change", (event) => {
  if (!atOnce) choose(event.target);
});
form.addEventListener("submit", (event) => event.preventDefault());

plates.forEach((plate, index) => {
  const sheet = plate.querySelector("canvas");
  if (!atOnce) views.peekAt(sheet);
  else sheet.addEventListener("click", () => choose(form.elements.choice[index === 0 ? 0 : form.elements.choice.length - 1]));
});

// What was set with the mouse gives the keyboard back: arrows choose a map again.
document.querySelector(".lens").addEventListener("pointerup", () => {
  setTimeout(() => document.activeElement?.matches(".lens input") && document.activeElement.blur());
});

// --- keys -------------------------------------------------------------------------------------------------------

function back() {
  const { name } = form.querySelector("input:checked") ?? {};
  if (name && !atOnce) {
    takeBack(form, name);
    clock.note("change", name, null);
    mark();
    trial.changed();
  } else if (trial.data.urls.back) window.location.assign(trial.data.urls.back);
}

document.addEventListener("keydown", (event) => {
  if (!isFree(event) || event.ctrlKey || event.metaKey || event.altKey) return;
  const { key } = event;
  const arrow = key.startsWith("Arrow");
  if (arrow && (!atOnce || event.target.closest(".lens"))) return; // they move along the scale, the views, the slider
  if (key.toLowerCase() === "o") views.peek(true);
  else if (event.repeat) return;
  else if (key.toLowerCase() === "v" && views.changeable) views.step();
  else if (key === "Enter" && !event.target.closest("button, a, summary") && !busy()) trial.send();
  else if (key === "Backspace" && !busy()) back();
  else if (forKey(form, key)) choose(forKey(form, key));
  else if (!arrow || !form.contains(event.target)) return;
  event.preventDefault(); // also the arrows that would choose another radio button
});

// --- what the frame asks of this page ---------------------------------------------------------------------------

const adapter = {
  clock,
  collect: () => collect(form),
  restore(payload) {
    restore(form, payload);
    mark();
  },
  drawing: async () => null,
  check() {
    const open = missing(form);
    if (!open) return null;
    box(open).classList.add("missing");
    open.focus();
    return trial.words.missing;
  },
  lock: (on) => lock(form, on),
};

async function begin() {
  lock(form, true); // nothing is chosen before it can be seen
  try {
    await views.load(trial.data.urls);
  } catch {
    trial.say("bad", trial.words.noPicture, [[trial.words.reload, () => window.location.reload()]]);
    return;
  }
  ready = true;
  await trial.begin(adapter);
  if (!busy()) lock(form, false);
}

begin();
