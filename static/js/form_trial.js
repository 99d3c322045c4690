// The page of a trial that is only a form: whatever the template asks in <form id="answer-form"> is collected, kept and
// sent. The stage holds <figure class="plate"> with <img data-picture> or <canvas data-map="0"> (stimuli.js). On the form: data-at-once sends with the last choice; data-back lets Backspace go to one's answer before (its
// value or what the server says) when there is nothing to take back.
import { Clock } from "./clock.js";
import { box, collect, controls, forKey, lock, missing, question, restore, takeBack } from "./form.js";
import { Stimuli } from "./stimuli.js";
import { isFree, Trial } from "./trial.js";

const trial = new Trial();
const clock = new Clock();
const form = document.getElementById("answer-form");
const stimuli = new Stimuli(trial.data.page);
const chosen = []; // names of the questions in the order in which they were answered here
let ready = false;

const isChoice = (control) => control.matches("[type=radio], [type=checkbox], [type=range], select");

function unmark() {
  for (const one of form.querySelectorAll(".missing")) one.classList.remove("missing");
  for (const one of form.querySelectorAll("[aria-invalid]")) one.removeAttribute("aria-invalid");
}

/** Says what is open where it stands, and puts the keyboard there. */
function point(control) {
  const group = box(control);
  group.classList.add("missing");
  if (control.type !== "radio") control.setAttribute("aria-invalid", "true");
  else if (group.matches("[role=radiogroup]")) group.setAttribute("aria-invalid", "true");
  control.focus();
  group.scrollIntoView({ block: "nearest" });
}

function said(control) {
  if (control.type === "checkbox") return control.checked;
  // What somebody writes is in the answer; the record keeps how much.
  return control.matches("textarea, [type=text], [type=search], [type=email]") ? control.value.length : control.value;
}

function changed(control) {
  unmark();
  if (control.type === "range") control.dataset.touched = "";
  if (chosen.at(-1) !== control.name) chosen.push(control.name);
  clock.note("change", control.name, said(control));
  trial.changed();
}

form.addEventListener("input", (event) => {
  // A slider and a text change many times before they are left; the record gets one line, the draft is kept at once.
  if (event.target.type === "range") event.target.dataset.touched = "";
  if (!isChoice(event.target) || event.target.type === "range") trial.changed();
});
form.addEventListener("change", (event) => {
  changed(event.target);
  if ("atOnce" in form.dataset && isChoice(event.target) && !missing(form)) trial.send();
});
// The middle of a slider can be meant too: a press there changes nothing, but it is an answer.
for (const slider of form.querySelectorAll("input[type=range]")) {
  const touch = () => {
    if (!("touched" in slider.dataset) && !slider.disabled) changed(slider);
  };
  slider.addEventListener("pointerup", touch);
  slider.addEventListener("keydown", (event) => {
    if (event.key !== " ") return;
    event.preventDefault();
    touch();
  });
}
form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (ready) trial.send();
});

// --- keys -------------------------------------------------------------------------------------------------------

/** Chooses what the key means; says whether it meant anything. */
function choose(key) {
  const control = forKey(form, key);
  if (!control || control.disabled) return false;
  if (control.type === "radio") {
    if (!control.checked) {
      control.checked = true;
      control.dispatchEvent(new Event("change", { bubbles: true }));
    }
  } else if (control.type === "checkbox") control.click();
  else control.focus();
  return true;
}

function back() {
  const last = chosen.pop();
  if (last) {
    takeBack(form, last);
    unmark();
    clock.note("change", last, null);
    trial.changed();
    return;
  }
  const before = form.dataset.back || trial.data.urls.back;
  if ("back" in form.dataset && before) window.location.assign(before);
}

function peek(on) {
  if (stimuli.peek(on) && on) clock.note("bare");
}

document.addEventListener("keydown", (event) => {
  if (!ready || !isFree(event) || event.ctrlKey || event.metaKey || event.altKey) return;
  const locked = document.body.classList.contains("locked");
  if (event.key.toLowerCase() === "o" && stimuli.hasMaps && !forKey(form, "o")) peek(true);
  else if (event.repeat) return;
  else if (event.key === "Backspace" && !locked) back();
  else if (event.key === "Enter" && !event.target.closest("button, a, summary")) trial.send();
  else if (locked || !choose(event.key)) return;
  event.preventDefault();
});
document.addEventListener("keyup", (event) => {
  if (event.key.toLowerCase() === "o") peek(false);
});
window.addEventListener("blur", () => peek(false));
for (const sheet of document.querySelectorAll("canvas[data-map]")) {
  sheet.addEventListener("pointerdown", (event) => event.button === 0 && peek(true));
  for (const end of ["pointerup", "pointercancel", "pointerleave"]) sheet.addEventListener(end, () => peek(false));
  sheet.addEventListener("contextmenu", (event) => event.preventDefault());
}

// --- what the frame asks of this page ---------------------------------------------------------------------------

const adapter = {
  clock,
  collect: () => collect(form),
  restore(payload) {
    unmark();
    restore(form, payload);
  },
  drawing: async () => null,
  check() {
    const open = missing(form);
    if (!open) return null;
    point(open);
    const filled = question(form, open.name).some((one) => one.value.trim() && !isChoice(one));
    return filled && open.validationMessage ? open.validationMessage : trial.words.missing;
  },
  lock: (on) => lock(form, on),
};

try {
  await stimuli.load(trial.data.urls, trial.data.canvas);
  await trial.begin(adapter);
  ready = true;
} catch (error) {
  trial.say("bad", trial.words.noPicture, [[trial.words.reload, () => window.location.reload()]]);
  if (controls(form).length === 0) throw error;
}
