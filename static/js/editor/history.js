// Undo and redo by stroke: the tiles that a stroke touched, one bit a pixel, as they were before it.
import { union } from "./mask.js";

const SIDE = 64;
const MOST_BYTES = 16 * 1024 * 1024;

export class History {
  #mask;
  #columns;
  #rows;
  #open = null;
  #done = [];
  #undone = [];
  #bytes = 0;

  constructor(mask) {
    this.#mask = mask;
    this.#columns = Math.ceil(mask.width / SIDE);
    this.#rows = Math.ceil(mask.height / SIDE);
  }

  get canUndo() {
    return this.#done.length > 0 && !this.#done[this.#done.length - 1].kept;
  }

  get canRedo() {
    return this.#undone.length > 0;
  }

  /** What was done and stands, in order. */
  get strokes() {
    return this.#done.map((entry) => entry.stroke);
  }

  begin(stroke) {
    this.#open = { stroke, tiles: new Map() };
  }

  /** Must be called before pixels of `rect` are written. */
  touch([left, top, right, bottom]) {
    const lastColumn = Math.min(this.#columns - 1, Math.floor((right - 1) / SIDE));
    const lastRow = Math.min(this.#rows - 1, Math.floor((bottom - 1) / SIDE));
    for (let row = Math.floor(top / SIDE); row <= lastRow; row += 1) {
      for (let column = Math.floor(left / SIDE); column <= lastColumn; column += 1) {
        const tile = row * this.#columns + column;
        if (!this.#open.tiles.has(tile)) this.#open.tiles.set(tile, this.#pack(tile));
      }
    }
  }

  commit() {
    const entry = this.#open;
    this.#open = null;
    if (!entry || !entry.tiles.size) return false;
    for (const old of this.#undone) this.#bytes -= weight(old);
    this.#undone = [];
    this.#done.push(entry);
    this.#bytes += weight(entry);
    // The oldest strokes stay painted, they can only no longer be undone.
    let forgotten = 0;
    while (this.#bytes > MOST_BYTES && this.#done.length - forgotten > 1) {
      const old = this.#done[forgotten];
      this.#bytes -= weight(old);
      old.tiles = new Map();
      old.kept = true;
      forgotten += 1;
    }
    return true;
  }

  /** Takes back a stroke that is still being drawn, without a trace. */
  abandon() {
    const entry = this.#open;
    this.#open = null;
    return entry ? this.#swap(entry) : null;
  }

  undo() {
    if (!this.canUndo) return null;
    const entry = this.#done.pop();
    this.#undone.push(entry);
    return this.#swap(entry);
  }

  redo() {
    const entry = this.#undone.pop();
    if (!entry) return null;
    this.#done.push(entry);
    return this.#swap(entry);
  }

  /** Starts from what was painted earlier; that cannot be undone stroke by stroke. */
  reset(strokes = []) {
    this.#open = null;
    this.#undone = [];
    this.#bytes = 0;
    this.#done = strokes.map((stroke) => ({ stroke, tiles: new Map(), kept: true }));
  }

  #swap(entry) {
    let changed = null;
    for (const [tile, bits] of entry.tiles) {
      entry.tiles.set(tile, this.#pack(tile));
      changed = union(changed, this.#unpack(tile, bits));
    }
    return changed;
  }

  #rect(tile) {
    const left = (tile % this.#columns) * SIDE;
    const top = Math.floor(tile / this.#columns) * SIDE;
    return [left, top, Math.min(left + SIDE, this.#mask.width), Math.min(top + SIDE, this.#mask.height)];
  }

  #pack(tile) {
    const [left, top, right, bottom] = this.#rect(tile);
    const bits = new Uint8Array((SIDE * SIDE) / 8);
    for (let y = top; y < bottom; y += 1) {
      const from = y * this.#mask.width;
      for (let x = left; x < right; x += 1) {
        if (this.#mask.data[from + x]) bits[((y - top) * SIDE + x - left) >> 3] |= 1 << ((x - left) & 7);
      }
    }
    return bits;
  }

  #unpack(tile, bits) {
    const [left, top, right, bottom] = this.#rect(tile);
    for (let y = top; y < bottom; y += 1) {
      const to = y * this.#mask.width;
      for (let x = left; x < right; x += 1) {
        this.#mask.data[to + x] = (bits[((y - top) * SIDE + x - left) >> 3] >> ((x - left) & 7)) & 1;
      }
    }
    return [left, top, right, bottom];
  }
}

function weight(entry) {
  return (entry.tiles.size * SIDE * SIDE) / 8;
}
