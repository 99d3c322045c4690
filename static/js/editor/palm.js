// Pen and hand on one screen: while there is a pen the hand that holds it is no finger.

const PEN_RULES_MS = 500;
const SEEN = "harmony-pen"; // for this visit of the browser, so that the next picture knows it at once

export class Palm {
  #down = false;
  #last = -Infinity;
  #pressed = false; // the pen tells pressure; those that do not always say 0.5

  constructor() {
    this.used = read();
    this.fingersPaint = !this.used;
    this.onpen = () => {};
  }

  /** Every pen event passes here. */
  pen(event) {
    this.#last = event.timeStamp;
    if (event.type === "pointerdown") this.#down = true;
    if (event.type === "pointerup" || event.type === "pointercancel") this.#down = false;
    if (event.type !== "pointerdown" || this.used) return;
    this.used = true;
    this.fingersPaint = false;
    write();
    this.onpen();
  }

  /** Whether a touch is a palm: a pen is down or was seen just now. */
  rules(event) {
    return this.#down || event.timeStamp - this.#last < PEN_RULES_MS;
  }

  /** The share of the brush's diameter: 40 % to 100 % with a pen's pressure, 1 with everything else. */
  width(event) {
    if (event.pointerType !== "pen" || !(event.pressure > 0 && event.pressure < 1)) return 1;
    if (event.pressure !== 0.5) this.#pressed = true;
    return this.#pressed ? 0.4 + 0.6 * event.pressure : 1;
  }
}

function read() {
  try {
    return sessionStorage.getItem(SEEN) === "yes";
  } catch {
    return false;
  }
}

function write() {
  try {
    sessionStorage.setItem(SEEN, "yes");
  } catch {
    // Without storage the next picture asks the pen again.
  }
}
