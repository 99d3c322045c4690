// Undo and redo by stroke: which pixels a stroke changed, kept as runs of equal 32-bit words.
//
// While a stroke is drawn, the tiles under it are copied as they were. When it ends, only the difference is kept:
// writing it once more takes the stroke back, and once more brings it again, so undo and redo weigh the same.
import { union } from "./mask.js";

const SIDE = 64; // pixels; a row of a tile is two words
const WORDS = (SIDE * SIDE) / 32;
const MOST_BYTES = 16 * 1024 * 1024;
const LITERAL = 0x80000000; // a count with this bit: so many different words follow, else one word to be repeated
const LEAST_RUN = 3;

export class History {
  #mask;
  #columns;
  #rows;
  #open = null;
  #done = [];
  #undone = [];
  #bytes = 0;
  #scratch = new Uint32Array(0);

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

  /** Bytes of what can be undone and redone, and of the working room for the stroke being drawn. */
  get weight() {
    return this.#bytes + this.#scratch.byteLength + (this.#open ? this.#open.words.byteLength : 0);
  }

  begin(stroke) {
    this.#open = { stroke, tiles: new Map(), words: new Uint32Array(32 * WORDS) };
  }

  /** Must be called before pixels of `rect` are written. */
  touch([left, top, right, bottom]) {
    const { tiles } = this.#open;
    const lastColumn = Math.min(this.#columns - 1, Math.floor((right - 1) / SIDE));
    const lastRow = Math.min(this.#rows - 1, Math.floor((bottom - 1) / SIDE));
    for (let row = Math.floor(top / SIDE); row <= lastRow; row += 1) {
      for (let column = Math.floor(left / SIDE); column <= lastColumn; column += 1) {
        const tile = row * this.#columns + column;
        if (!tiles.has(tile)) this.#keep(tile);
      }
    }
  }

  #keep(tile) {
    const open = this.#open;
    const to = open.tiles.size * WORDS;
    if (to + WORDS > open.words.length) {
      const wider = new Uint32Array(2 * open.words.length);
      wider.set(open.words);
      open.words = wider;
    }
    open.tiles.set(tile, to);
    const { words } = this.#mask;
    const { at, count, perRow } = this.#place(tile);
    for (let row = 0, from = at, next = to; row < count; row += 1, from += perRow, next += 2) {
      open.words[next] = words[from];
      open.words[next + 1] = words[from + 1];
    }
  }

  /** Keeps the stroke if it changed anything, and says whether it did. */
  commit() {
    const open = this.#open;
    this.#open = null;
    const entry = open && this.#differences(open);
    if (!entry) return false;
    for (const old of this.#undone) this.#bytes -= weight(old);
    this.#undone = [];
    this.#done.push(entry);
    this.#bytes += weight(entry);
    // The oldest strokes stay painted, they can only no longer be undone.
    for (let i = 0; this.#bytes > MOST_BYTES && i < this.#done.length - 1; i += 1) {
      this.#bytes -= weight(this.#done[i]);
      this.#done[i] = keptOnly(this.#done[i].stroke);
    }
    return true;
  }

  /** Takes back a stroke that is still being drawn, without a trace; the rectangle that changed. */
  abandon() {
    const open = this.#open;
    this.#open = null;
    if (!open) return null;
    let changed = null;
    for (const [tile, kept] of open.tiles) {
      const { words } = this.#mask;
      const { at, count, perRow } = this.#place(tile);
      for (let row = 0, to = at, from = kept; row < count; row += 1, to += perRow, from += 2) {
        words[to] = open.words[from];
        words[to + 1] = open.words[from + 1];
      }
      changed = union(changed, this.#rect(tile));
    }
    return changed;
  }

  undo() {
    if (!this.canUndo) return null;
    const entry = this.#done.pop();
    this.#undone.push(entry);
    return this.#turn(entry);
  }

  redo() {
    const entry = this.#undone.pop();
    if (!entry) return null;
    this.#done.push(entry);
    return this.#turn(entry);
  }

  /** Starts from what was painted earlier; that cannot be undone stroke by stroke. */
  reset(strokes = []) {
    this.#open = null;
    this.#undone = [];
    this.#bytes = 0;
    this.#done = strokes.map(keptOnly);
  }

  /** What a stroke changed, tile by tile as one row of words, runs of equal words written once. */
  #differences(open) {
    const tiles = new Uint32Array(open.tiles.size);
    const needed = open.tiles.size * WORDS;
    if (this.#scratch.length < needed) this.#scratch = new Uint32Array(needed);
    const scratch = this.#scratch;
    const { words } = this.#mask;
    const before = open.words;
    let used = 0;
    for (const [tile, kept] of open.tiles) {
      let any = 0;
      const to = used * WORDS;
      const { at, count, perRow } = this.#place(tile);
      if (count < SIDE) scratch.fill(0, to, to + WORDS); // rows below the picture
      for (let row = 0, from = at, i = kept, next = to; row < count; row += 1, from += perRow, i += 2, next += 2) {
        scratch[next] = words[from] ^ before[i];
        scratch[next + 1] = words[from + 1] ^ before[i + 1];
        any |= scratch[next] | scratch[next + 1];
      }
      if (!any) continue;
      tiles[used] = tile;
      used += 1;
    }
    if (!used) return null;
    return { stroke: open.stroke, tiles: tiles.slice(0, used), runs: pack(scratch, used * WORDS), kept: false };
  }

  /** Undoes or redoes: the same words once more. */
  #turn(entry) {
    let changed = null;
    const next = reader(entry.runs);
    for (const tile of entry.tiles) {
      const flips = next();
      const { words } = this.#mask;
      const { at, count, perRow } = this.#place(tile);
      for (let row = 0, to = at; row < count; row += 1, to += perRow) {
        words[to] ^= flips[2 * row];
        words[to + 1] ^= flips[2 * row + 1];
      }
      changed = union(changed, this.#rect(tile));
    }
    return changed;
  }

  #rect(tile) {
    const left = (tile % this.#columns) * SIDE;
    const top = Math.floor(tile / this.#columns) * SIDE;
    return [left, top, Math.min(left + SIDE, this.#mask.width), Math.min(top + SIDE, this.#mask.height)];
  }

  /** Where a tile's words stand in the mask: the first one, how many rows of two, and the way from row to row. */
  #place(tile) {
    const { stride, height } = this.#mask;
    const perRow = stride / 4;
    const top = Math.floor(tile / this.#columns) * SIDE;
    return { at: top * perRow + 2 * (tile % this.#columns), count: Math.min(SIDE, height - top), perRow };
  }
}

function keptOnly(stroke) {
  return { stroke, tiles: new Uint32Array(0), runs: new Uint32Array(0), kept: true };
}

function weight(entry) {
  return entry.tiles.byteLength + entry.runs.byteLength;
}

/** `words[0…count]` as [count, word] for runs and [LITERAL | count, words…] for what does not repeat. */
function pack(words, count) {
  const out = new Uint32Array(count + 2 + Math.ceil(count / LEAST_RUN));
  let used = 0;
  let literal = -1; // where the count of the open literal stands
  for (let i = 0; i < count; ) {
    const word = words[i];
    let end = i + 1;
    while (end < count && words[end] === word) end += 1;
    if (end - i >= LEAST_RUN) {
      out[used] = end - i;
      out[used + 1] = word;
      used += 2;
      literal = -1;
    } else {
      if (literal < 0) {
        literal = used;
        out[used] = LITERAL;
        used += 1;
      }
      for (let k = i; k < end; k += 1) out[used + k - i] = word;
      used += end - i;
      out[literal] += end - i;
    }
    i = end;
  }
  return out.slice(0, used);
}

/** A function that gives the words of one tile after another. */
function reader(runs) {
  const tile = new Uint32Array(WORDS);
  let at = 0;
  let left = 0;
  let literal = false;
  return () => {
    for (let i = 0; i < WORDS; ) {
      if (!left) {
        literal = runs[at] >= LITERAL;
        left = literal ? runs[at] - LITERAL : runs[at];
        at += 1;
      }
      const count = Math.min(left, WORDS - i);
      if (literal) {
        for (let k = 0; k < count; k += 1) tile[i + k] = runs[at + k];
        at += count;
        left -= count;
      } else {
        tile.fill(runs[at], i, i + count);
        left -= count;
        if (!left) at += 1;
      }
      i += count;
    }
    return tile;
  };
}
