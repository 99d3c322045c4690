// Which key presses are shortcuts. Keys that write a character can be switched off (WCAG 2.1.4), on this device.

const KEPT = "harmony-shortcuts";
const OPEN = CSS.supports("selector(:popover-open)") ? "dialog[open], :popover-open" : "dialog[open]";

let on = true;
try {
  on = localStorage.getItem(KEPT) !== "off";
} catch {
  // Storage may be refused; shortcuts are then on.
}

const BRACKETS = ["[", "]"];

/** Whether a key press is without Ctrl, Alt and Cmd; brackets need them on many keyboards (AltGr 8, Option 5). */
export function isPlain(event) {
  return BRACKETS.includes(event.key) || !(event.ctrlKey || event.metaKey || event.altKey);
}

/** Whether a key press belongs to the page and not to a control that uses it itself. */
export function isFree(event) {
  if (event.defaultPrevented || event.isComposing || document.querySelector(OPEN)) return false;
  if (!on && isPlain(event) && event.key.length === 1 && event.key !== " ") return false;
  return !event.target.closest?.(
    "input[type=text], input[type=search], input[type=number], input[type=email], textarea, select",
  );
}

/** The switch in the help dialog. */
export function listen(button) {
  if (!button) return;
  const show = () => button.setAttribute("aria-checked", String(on));
  button.addEventListener("click", () => {
    on = !on;
    try {
      localStorage.setItem(KEPT, on ? "on" : "off");
    } catch {
      // Kept for this page only.
    }
    show();
  });
  show();
}
