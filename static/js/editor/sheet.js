// The mask on the screen: filled, with a crisp edge, only where it changed.

const MARGIN = 4; // device pixels looked up beyond the sheet, at least the width of the edge

export class Sheet {
  #context;
  #mask;
  #image = null;
  #out = null;
  #columns = new Int32Array(0);
  #rows = new Int32Array(0);
  #line = 1;
  #pool = [];
  #next = 0;

  constructor(canvas, mask) {
    this.canvas = canvas;
    this.#context = canvas.getContext("2d");
    this.#mask = mask;
  }

  /** In device pixels; `ratio`: device pixels a CSS pixel. */
  resize(width, height, ratio) {
    this.canvas.width = width;
    this.canvas.height = height;
    this.#image = new ImageData(width, height);
    this.#out = new Uint32Array(this.#image.data.buffer);
    this.#line = Math.max(1, Math.round(ratio));
    this.#pool = Array.from({ length: 2 * this.#line + 2 }, () => new Uint8Array(width + 2 * MARGIN));
  }

  get bytes() {
    return this.#image.data.byteLength;
  }

  /** Where the mask lies: its corner and its scale in device pixels. */
  place(x, y, scale) {
    this.#columns = lookUp(this.canvas.width, x, scale, this.#mask.width);
    this.#rows = lookUp(this.canvas.height, y, scale, this.#mask.height);
    this.x = x;
    this.y = y;
    this.scale = scale;
  }

  /** Paints what the mask's `rect` covers, in words of `colour`; both 0 hide it. */
  paint([left, top, right, bottom], fill, edge) {
    const line = this.#line;
    const { width, height } = this.canvas;
    const x0 = Math.max(0, Math.floor(this.x + left * this.scale) - line - 2);
    const y0 = Math.max(0, Math.floor(this.y + top * this.scale) - line - 2);
    const x1 = Math.min(width, Math.ceil(this.x + right * this.scale) + line + 2);
    const y1 = Math.min(height, Math.ceil(this.y + bottom * this.scale) + line + 2);
    if (x0 >= x1 || y0 >= y1) return;
    const out = this.#out;
    if (fill || edge) {
      const window = []; // what is set in the device rows y − line … y + line
      for (let y = y0 - line; y < y0 + line; y += 1) window.push(this.#read(y, x0, x1, window));
      for (let y = y0; y < y1; y += 1) {
        window.push(this.#read(y + line, x0, x1, window));
        const row = window[line];
        const to = y * width;
        if (!row.any) out.fill(0, to + x0, to + x1);
        else if (row.full && window[0].full && window[2 * line].full) out.fill(fill, to + x0, to + x1);
        else edged(out, to + x0, x1 - x0, line, row.set, window[0].set, window[2 * line].set, fill, edge);
        window.shift();
      }
    } else {
      for (let y = y0; y < y1; y += 1) out.fill(0, y * width + x0, y * width + x1);
    }
    this.#context.putImageData(this.#image, 0, 0, x0, y0, x1 - x0, y1 - y0);
  }

  /** Which of the device pixels x0 − line … x1 + line of a device row are set, one byte each. */
  #read(y, x0, x1, before) {
    const row = this.#rows[y + MARGIN];
    const last = before[before.length - 1];
    if (last && last.row === row) return last; // zoomed in, neighbouring rows show the same pixels
    const from = x0 - this.#line + MARGIN;
    const count = x1 - x0 + 2 * this.#line;
    const found = { row, set: null, any: false, full: false };
    const { bytes, stride, width } = this.#mask;
    const columns = this.#columns;
    const base = row * stride;
    if (row >= 0) {
      const clip = (column) => (column < 0 ? null : column >> 3);
      const a = clip(columns[from]) ?? 0;
      const b = clip(columns[from + count - 1]) ?? (width - 1) >> 3;
      for (let i = base + a; i <= base + b && !found.any; i += 1) found.any = bytes[i] !== 0;
    }
    found.set = this.#pool[this.#next];
    this.#next = (this.#next + 1) % this.#pool.length;
    if (!found.any) {
      found.set.fill(0, 0, count);
      return found;
    }
    let all = 1;
    const { set } = found;
    for (let i = 0; i < count; i += 1) {
      const column = columns[from + i];
      const bit = column < 0 ? 0 : (bytes[base + (column >> 3)] >> (7 - (column & 7))) & 1;
      set[i] = bit;
      all &= bit;
    }
    found.full = all === 1;
    return found;
  }
}

/** One device row: set pixels whose neighbours `line` away are all set are filled, the others are edge. */
function edged(out, to, count, line, row, up, down, fill, edge) {
  for (let i = 0, at = line; i < count; i += 1, at += 1) {
    if (row[at] === 0) out[to + i] = 0;
    else out[to + i] = up[at] & down[at] & row[at - line] & row[at + line] ? fill : edge;
  }
}

/** For each device pixel −MARGIN … count + MARGIN the mask's column or row under its centre, −1 outside. */
function lookUp(count, offset, scale, size) {
  const found = new Int32Array(count + 2 * MARGIN);
  for (let i = 0; i < found.length; i += 1) {
    const at = Math.floor((i - MARGIN + 0.5 - offset) / scale);
    found[i] = at >= 0 && at < size ? at : -1;
  }
  return found;
}

/** Bytes r, g, b, a as one little-endian word, the order of ImageData on every platform that browsers run on. */
export function colour([r, g, b], a) {
  return ((a << 24) | (b << 16) | (g << 8) | r) >>> 0;
}
