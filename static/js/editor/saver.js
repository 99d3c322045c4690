// The mask as a file, made when it is wanted and the hand rests, in a worker where the browser lets us have one.
import { encode } from "./png.js";

const REST_MS = 150; // strokes that follow each other at once are saved together
const LONGEST_MS = 2000; // but not later than this

export class Saver {
  #desk;
  #file = null; // the promise of the newest file
  #resting = false; // a file is asked for, and the mask not yet looked at
  #asked = 0;
  #touched = -Infinity;
  #worker = null;
  #waiting = new Map();

  constructor(desk) {
    this.#desk = desk;
    try {
      this.#worker = new Worker(new URL("./png_worker.js", import.meta.url), { type: "module" });
      this.#worker.onmessage = ({ data }) => {
        this.#waiting.get(data.number)?.(data.blob);
        this.#waiting.delete(data.number);
      };
      this.#worker.onerror = () => this.#without();
    } catch {
      this.#worker = null;
    }
  }

  /** The mask changed: an older file is worth nothing. */
  changed() {
    this.#touched = performance.now();
    if (!this.#resting) this.#file = null;
  }

  /** The mask as it is when the hand rests; at once while the desk is locked, because then it is being sent. */
  file() {
    this.#file ??= this.#make();
    return this.#file;
  }

  async #make() {
    const begin = performance.now();
    this.#resting = true;
    while (!this.#desk.locked) {
      const now = performance.now();
      if (!this.#desk.hand.open && now - this.#touched >= REST_MS) break;
      if (now - begin >= LONGEST_MS) break;
      await new Promise((done) => setTimeout(done, 50));
    }
    this.#resting = false;
    const { mask } = this.#desk;
    const copy = { width: mask.width, height: mask.height, stride: mask.stride, bytes: mask.bytes.slice() };
    if (!this.#worker) return encode(copy);
    this.#asked += 1;
    const number = this.#asked;
    return new Promise((done) => {
      this.#waiting.set(number, (blob) => done(blob ?? encode(copy)));
      this.#worker.postMessage({ number, mask: copy });
    });
  }

  /** No worker here: everyone who waits for it is served on this thread, slice by slice. */
  #without() {
    this.#worker = null;
    for (const serve of this.#waiting.values()) serve(null);
    this.#waiting.clear();
  }
}
