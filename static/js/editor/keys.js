// The editor by keyboard alone: letters for tools, arrows for the crosshair, Space to paint.
import { isPlain } from "../shortcuts.js";
import { isFree } from "../trial.js";

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const STEP = 16; // CSS pixels that an arrow moves the crosshair of a tool without a size

/** The crosshair: a place of the picture that the arrow keys move. */
export class Crosshair {
  #at;
  #desk;
  #view;
  #ring;
  #size;
  #moving = false;

  constructor(desk, view, ring, size) {
    const { width, height } = desk.mask;
    this.#at = [width / 2, height / 2];
    this.#desk = desk;
    this.#view = view;
    this.#ring = ring;
    this.#size = size;
    this.shown = false;
  }

  get at() {
    return this.#at;
  }

  /** Where it is on the easel while it is shown, else nothing: the middle of a zoom by keys. */
  get spot() {
    return this.shown ? this.#view.toScreen(...this.#at) : [];
  }

  show() {
    this.shown = true;
    if (this.#moving) return;
    this.#moving = true; // bringing it into sight moves the view, which shows it again
    this.#view.reveal(...this.#at);
    this.#moving = false;
    this.#ring.move(...this.#view.toScreen(...this.#at), true);
  }

  move([dx, dy], finely) {
    const { mask, tool } = this.#desk;
    const round = tool === "brush" || tool === "erase";
    const coarse = round ? this.#size.value / 3 : STEP / this.#view.scale;
    const step = finely ? 1 : Math.max(1, Math.round(coarse));
    this.#at = [
      Math.min(mask.width - 0.5, Math.max(0.5, this.#at[0] + dx * step)),
      Math.min(mask.height - 0.5, Math.max(0.5, this.#at[1] + dy * step)),
    ];
    this.show();
  }
}

/** `acts`: { tool(name), undo, redo, size(step), zoom(factor), fit, show, bare(on), send } */
export function listen(easel, desk, crosshair, acts) {
  let held = false;

  easel.addEventListener("focus", () => {
    if (easel.matches(":focus-visible")) crosshair.show();
  });
  easel.addEventListener("blur", () => {
    if (held) desk.hand.release();
    held = false;
    crosshair.shown = false;
  });
  easel.addEventListener("pointermove", () => {
    crosshair.shown = false;
  });

  easel.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in ARROWS) {
      crosshair.move(ARROWS[event.key], event.shiftKey);
      if (held) desk.hand.drag(...crosshair.at);
      else desk.hand.hover(...crosshair.at);
      event.preventDefault();
    } else if (event.key === " ") {
      event.preventDefault();
      if (event.repeat || held) return;
      held = true;
      crosshair.show();
      desk.hand.press(...crosshair.at, { erase: event.shiftKey, reach: 1 });
    }
  });
  easel.addEventListener("keyup", (event) => {
    if (event.key !== " " || !held) return;
    held = false;
    desk.hand.release();
  });

  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
    const { hand } = desk;
    if (hand.close && hand.open && !event.target.closest?.("button, a, summary, input")) {
      if (event.key === "Enter") hand.close();
      else if (event.key === "Escape") hand.drop();
      else if (event.key === "Backspace") hand.back();
      else return;
      event.preventDefault();
    }
  });
  document.addEventListener("keydown", (event) => {
    if (!isFree(event)) return;
    const key = event.key.toLowerCase();
    if (!isPlain(event) && (event.ctrlKey || event.metaKey)) {
      if (key === "z") event.shiftKey ? acts.redo() : acts.undo();
      else if (key === "y") acts.redo();
      else return;
      event.preventDefault();
      return;
    }
    if (!isPlain(event)) return;
    if (key === "b") acts.tool("brush");
    else if (key === "e") acts.tool("erase");
    else if (key === "p") acts.tool("outline");
    else if (key === "f") acts.tool("fill");
    else if (key === "[") acts.size(-1);
    else if (key === "]") acts.size(1);
    else if (key === "z") acts.undo();
    else if (key === "x") acts.redo();
    else if (key === "+" || key === "=") acts.zoom(1.25);
    else if (key === "-") acts.zoom(0.8);
    else if (key === "0") acts.fit();
    else if (key === "h" && !event.repeat) acts.show();
    else if (key === "o") acts.bare(true);
    else if (key === "enter" && !event.target.closest("button, a, summary")) acts.send();
    else return;
    event.preventDefault();
  });
  document.addEventListener("keyup", (event) => {
    if (event.key.toLowerCase() === "o") acts.bare(false);
  });
  window.addEventListener("blur", () => acts.bare(false));
}
