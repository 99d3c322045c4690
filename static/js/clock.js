// Time at work: runs while the pictures can be seen, stands still in the background and while an answer is on its way.

const MOST_EVENTS = 400;
const MOST_DETAILS = 4;
const LONGEST = 120;

export class Clock {
  #base = 0;
  #since = null;
  #running = false;
  #held = false;

  constructor() {
    this.events = [];
    document.addEventListener("visibilitychange", () => {
      if (!this.#running) return;
      if (document.hidden) {
        this.#pause();
        this.note("hidden");
      } else {
        this.#resume();
        this.note("seen");
      }
    });
    window.addEventListener("blur", () => this.note("blur"));
    window.addEventListener("focus", () => this.note("focus"));
  }

  /** Called when the pictures are decoded and on the screen; `base` is the time of earlier visits. */
  start(base = 0, events = []) {
    this.#base = base;
    this.events = [...events];
    this.#running = true;
    this.#resume();
    this.note("shown");
    const heard = new AbortController();
    const first = (event) => {
      heard.abort();
      this.note("input", event.pointerType ?? "key");
    };
    for (const type of ["pointerdown", "keydown"]) {
      document.addEventListener(type, first, { capture: true, signal: heard.signal });
    }
  }

  /** Waiting for the network is not work. */
  hold(on) {
    if (on === this.#held) return;
    this.#held = on;
    if (on) this.#pause();
    else this.#resume();
  }

  #pause() {
    if (this.#since !== null) this.#base += performance.now() - this.#since;
    this.#since = null;
  }

  #resume() {
    if (this.#running && !this.#held && !document.hidden) this.#since ??= performance.now();
  }

  /** Visible milliseconds so far. */
  get now() {
    return Math.round(this.#base + (this.#since === null ? 0 : performance.now() - this.#since));
  }

  /** One line of the trial's record: [milliseconds, what, detail…]. A record that grows too long says so and ends. */
  note(what, ...detail) {
    if (!this.#running || this.events.length >= MOST_EVENTS) return;
    if (this.events.length === MOST_EVENTS - 1) {
      this.events.push([this.now, "cut"]);
      return;
    }
    const short = detail.slice(0, MOST_DETAILS).map((one) => (typeof one === "string" ? one.slice(0, LONGEST) : one));
    this.events.push([this.now, what, ...short]);
  }
}
