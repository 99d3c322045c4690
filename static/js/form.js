// An answer read from the controls of a form, and put back into them. The HTML says everything:
//
//   name="maps.0.necessary"   where the value stands in the answer; a whole number makes a list
//   data-type                 bool (yes, no), int, float, choice or text (where nothing is said)
//   data-optional             may stay open
//   data-key="y"              keys that choose this value, separated by spaces (a control of its own: that go to it)
//
// Radio buttons of one name are one question; nothing ticked is no answer. A tick box is true or false where it is
// optional; where it is not, it must be ticked. A slider says nothing until it was touched (`data-touched`). Hidden
// fields are constants. What is open is left out of the answer.

const TEXTUAL = "textarea, select, input:not([type=radio], [type=checkbox], [type=range], [type=hidden])";

/** The controls that hold the answer, in the order of the page. */
export function controls(form) {
  return [...form.elements].filter(
    (one) =>
      one.matches("input[name], select[name], textarea[name]") &&
      !one.matches("[type=submit], [type=button], [name=csrfmiddlewaretoken]") &&
      (!one.disabled || "locked" in one.dataset),
  );
}

function typed(control, text) {
  const kind = control.dataset.type ?? "text";
  if (kind === "bool") return { yes: true, no: false }[text];
  if (kind !== "int" && kind !== "float") return text.trim() === "" ? undefined : text;
  const number = text.trim() === "" ? NaN : Number(text);
  return (kind === "int" ? Number.isInteger(number) : Number.isFinite(number)) ? number : undefined;
}

/** What one control says; undefined where it says nothing. */
function value(control) {
  if (control.type === "radio") return control.checked ? typed(control, control.value) : undefined;
  if (control.type === "checkbox") return control.checked || ("optional" in control.dataset ? false : undefined);
  if (control.type === "range" && !("touched" in control.dataset)) return undefined;
  return typed(control, control.value);
}

const steps = (name) => name.split(".").map((step) => (/^\d+$/.test(step) ? Number(step) : step));

function put(payload, name, what) {
  const path = steps(name);
  let at = payload;
  path.forEach((step, index) => {
    if (index === path.length - 1) at[step] = what;
    else at = at[step] ??= typeof path[index + 1] === "number" ? [] : {};
  });
}

const find = (payload, name) => steps(name).reduce((at, step) => at?.[step], payload);

/** The answer as it stands. */
export function collect(form) {
  const payload = {};
  for (const control of controls(form)) {
    const said = value(control);
    if (said !== undefined) put(payload, control.name, said);
  }
  return payload;
}

/** Shows an earlier answer; what it does not say is open again. */
export function restore(form, payload) {
  for (const control of controls(form)) {
    if (control.type === "hidden") continue;
    const said = find(payload, control.name) ?? null;
    const text = said === null ? "" : control.dataset.type === "bool" && said !== "" ? (said ? "yes" : "no") : String(said);
    if (control.type === "radio") control.checked = said !== null && control.value === text;
    else if (control.type === "checkbox") control.checked = said === true;
    else if (control.type === "range" && said === null) clear(control);
    else {
      control.value = text;
      if (control.type === "range") control.dataset.touched = "";
    }
  }
}

function clear(control) {
  if (control.type === "radio" || control.type === "checkbox") control.checked = false;
  else if (control.type === "range") {
    control.value = control.defaultValue;
    delete control.dataset.touched;
  } else control.value = "";
}

/** All controls of a question: radio buttons share one name. */
export const question = (form, name) => controls(form).filter((one) => one.name === name);

/** Opens a question again. */
export function takeBack(form, name) {
  for (const one of question(form, name)) clear(one);
}

export const answered = (form, name) => question(form, name).some((one) => value(one) !== undefined);

/** Something stands there, but the control does not take it: a number out of range, a text that is too long. */
const refused = (control) => control.matches(TEXTUAL) && !control.validity.valid && control.value.trim() !== "";

/** The first control that has to be answered and is not, or holds what cannot be sent; null if all is well. */
export function missing(form) {
  for (const control of controls(form)) {
    if (control.type === "hidden") continue;
    if (refused(control)) return control;
    if (question(form, control.name).some((one) => "optional" in one.dataset)) continue;
    if (!answered(form, control.name)) return control;
  }
  return null;
}

/** What is marked when a question is open: its group, or the control's own label. */
export const box = (control) =>
  control.closest("[data-question], [role=radiogroup]") ?? control.closest("label") ?? control.closest("fieldset") ?? control;

/** Stops or allows changes; what the page had switched off itself stays off. */
export function lock(form, on) {
  for (const control of form.elements) {
    if (control.matches("fieldset")) continue;
    if (on && !control.disabled) {
      control.disabled = true;
      control.dataset.locked = "";
    } else if (!on && "locked" in control.dataset) {
      control.disabled = false;
      delete control.dataset.locked;
    }
  }
}

/** The control that a key means: of the next open question that has this key, else of the one in focus, else the only. */
export function forKey(form, key) {
  const having = controls(form).filter((one) => one.dataset.key?.toLowerCase().split(" ").includes(key.toLowerCase()));
  const names = new Set(having.map((one) => one.name));
  const focused = document.activeElement?.name;
  const open = [...names].find((name) => !answered(form, name));
  const meant = open ?? (names.has(focused) ? focused : names.size === 1 ? [...names][0] : null);
  return having.find((one) => one.name === meant) ?? null;
}
