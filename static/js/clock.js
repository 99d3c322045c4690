// Time at work: runs while the pictures can be seen, stands still while the page is in the background.

const MOST_EVENTS = 400;

export class Clock {
  #base = 0;
  #since = null;
  #running = false;

  constructor() {
    this.events = [];
    document.addEventListener("visibilitychange", () => {
      if (!this.#running) return;
      if (document.hidden) {
        this.#pause();
        this.note("hidden");
      } else {
        this.#since = performance.now();
        this.note("seen");
      }
    });
  }

  /** Called when the pictures are decoded and on the screen; `base` is the time of earlier visits. */
  start(base = 0, events = []) {
    this.#base = base;
    this.events = [...events];
    this.#running = true;
    if (!document.hidden) this.#since = performance.now();
    this.note("shown");
  }

  #pause() {
    if (this.#since !== null) this.#base += performance.now() - this.#since;
    this.#since = null;
  }

  /** Visible milliseconds so far. */
  get now() {
    return Math.round(this.#base + (this.#since === null ? 0 : performance.now() - this.#since));
  }

  /** One line of the trial's record: [milliseconds, what, detail…]. */
  note(what, ...detail) {
    if (this.#running && this.events.length < MOST_EVENTS) this.events.push([this.now, what, ...detail]);
  }
}
