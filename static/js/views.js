// Looking at maps: three views, how strong they are, and the bare picture as long as something is held.
//
// The page holds <canvas data-picture> and <canvas data-map="0"> of one size and, where the person may change the view,
// radio buttons named "view", a slider #strength and a button [data-peek].
import { compose, VIEWS } from "./compose.js";
import { bitmap, mapBytes, pixels } from "./pictures.js";

const KEPT = "harmony-look";

/** How this person likes to look at maps, kept on this device. */
function remembered() {
  try {
    return JSON.parse(localStorage.getItem(KEPT)) ?? {};
  } catch {
    return {};
  }
}

export class Views {
  #clock;
  #colours;
  #habits;
  #view;
  #picture = null;
  #maps = new Map();
  #bare = false;
  #slider = document.getElementById("strength");

  /** `page`: view, colormap and opacity as the study sets them; a view that may be changed begins as it was left. */
  constructor(page, clock) {
    this.#clock = clock;
    this.#colours = page.colormap;
    this.sheets = [...document.querySelectorAll("canvas[data-picture], canvas[data-map]")];
    this.changeable = this.#slider !== null;
    this.#habits = { overlay: page.opacity, spotlight: 1, contour: 1, view: page.view, ...(this.changeable ? remembered() : {}) };
    this.#view = VIEWS.includes(this.#habits.view) ? this.#habits.view : "overlay";
    if (this.changeable) this.#wire();
    this.#peekers();
    this.#show();
  }

  #wire() {
    for (const choice of document.querySelectorAll("input[name=view]")) {
      choice.addEventListener("change", () => this.look(choice.value));
    }
    this.#slider.addEventListener("input", () => {
      this.#remember({ [this.#view]: this.#slider.value / 100 });
      this.#draw();
    });
    this.#slider.addEventListener("change", () => this.#clock.note("strength", Number(this.#slider.value)));
  }

  #peekers() {
    const hold = (on) => () => this.peek(on);
    const button = document.querySelector("[data-peek]");
    for (const end of ["pointerup", "pointercancel", "pointerleave", "blur"]) button?.addEventListener(end, hold(false));
    button?.addEventListener("pointerdown", (event) => event.button === 0 && this.peek(true));
    button?.addEventListener("contextmenu", (event) => event.preventDefault());
    button?.addEventListener("keydown", (event) => {
      if (event.key !== " " && event.key !== "Enter") return;
      event.preventDefault();
      this.peek(true);
    });
    button?.addEventListener("keyup", hold(false));
    document.addEventListener("keyup", (event) => event.key.toLowerCase() === "o" && this.peek(false));
    window.addEventListener("blur", hold(false));
  }

  /** A press on this map shows the bare picture as long as it lasts. */
  peekAt(sheet) {
    sheet.addEventListener("pointerdown", (event) => event.button === 0 && this.peek(true));
    for (const end of ["pointerup", "pointercancel", "pointerleave"]) sheet.addEventListener(end, () => this.peek(false));
    sheet.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  #remember(change) {
    Object.assign(this.#habits, change);
    try {
      localStorage.setItem(KEPT, JSON.stringify({ ...remembered(), ...change }));
    } catch {
      // Kept for this page only.
    }
  }

  #show() {
    if (!this.changeable) return;
    document.querySelector(`input[name=view][value=${this.#view}]`).checked = true;
    this.#slider.value = Math.round(this.#habits[this.#view] * 100);
  }

  look(view) {
    this.#view = view;
    this.#clock.note("view", view);
    this.#remember({ view });
    this.#show();
    this.#draw();
  }

  /** The next of the three views. */
  step() {
    if (this.changeable) this.look(VIEWS[(VIEWS.indexOf(this.#view) + 1) % VIEWS.length]);
  }

  peek(on) {
    if (this.#bare === on) return;
    this.#bare = on;
    if (on) this.#clock.note("bare");
    this.#draw();
  }

  /** Loads the picture and its maps and draws them; resolves when they are on the screen. Throws if one is missing. */
  async load(urls) {
    const { width, height } = this.sheets[0];
    const shown = this.sheets.filter((sheet) => sheet.dataset.map !== undefined);
    const [picture, ...maps] = await Promise.all([
      bitmap(urls.picture),
      ...shown.map((sheet) => mapBytes(urls.maps[Number(sheet.dataset.map)], width, height)),
    ]);
    this.#picture = pixels(picture, width, height);
    shown.forEach((sheet, index) => this.#maps.set(sheet, maps[index]));
    this.#draw();
    document.body.classList.remove("waiting");
    await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
  }

  #draw() {
    if (!this.#picture) return;
    for (const sheet of this.sheets) {
      const map = this.#bare ? null : (this.#maps.get(sheet) ?? null);
      compose(sheet.getContext("2d"), this.#picture, map, this.#view, this.#habits[this.#view], this.#colours);
    }
  }
}
