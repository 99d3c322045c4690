// The mask: one bit a pixel at the picture's own resolution, and the shapes that are written into it.
//
// Rows begin at a multiple of 64 pixels and the leftmost pixel is a byte's highest bit, as in a 1-bit PNG: saving is
// copying, and a picture of 12 megapixels takes 1.5 MB. Bits to the right of the picture are always 0.

/** A rectangle of pixels, x1 and y1 exclusive; null is empty. */
export function union(a, b) {
  if (!a) return b;
  if (!b) return a;
  return [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[2], b[2]), Math.max(a[3], b[3])];
}

export class Mask {
  constructor(width, height) {
    this.width = width;
    this.height = height;
    this.stride = 8 * Math.ceil(width / 64); // bytes a row
    this.bytes = new Uint8Array(this.stride * height);
    this.words = new Uint32Array(this.bytes.buffer);
  }

  get empty() {
    const { words } = this;
    for (let i = 0; i < words.length; i += 1) if (words[i] !== 0) return false;
    return true;
  }

  get all() {
    return [0, 0, this.width, this.height];
  }

  /** 1 where painted; (x, y) must lie within. */
  at(x, y) {
    return (this.bytes[y * this.stride + (x >> 3)] >> (7 - (x & 7))) & 1;
  }

  clear() {
    this.words.fill(0);
  }

  /** Sets the pixels from…to (exclusive) of one row to `value`; both must lie within the picture. */
  run(row, from, to, value) {
    const { bytes } = this;
    const first = row * this.stride + (from >> 3);
    const last = row * this.stride + (to >> 3);
    const head = 0xff >> (from & 7);
    const tail = 0xff & (0xff00 >> (to & 7));
    if (first === last) {
      if (value) bytes[first] |= head & tail;
      else bytes[first] &= ~(head & tail);
      return;
    }
    if (value) bytes[first] |= head;
    else bytes[first] &= ~head;
    if (last - first > 24) bytes.fill(value ? 0xff : 0, first + 1, last);
    else for (let i = first + 1; i < last; i += 1) bytes[i] = value ? 0xff : 0;
    if (!tail) return;
    if (value) bytes[last] |= tail;
    else bytes[last] &= ~tail;
  }

  /** The pixels of `row` whose centres lie in low…high. */
  #between(row, low, high, value) {
    const from = Math.max(0, Math.ceil(low - 0.5));
    const to = Math.min(this.width, Math.floor(high - 0.5) + 1);
    if (from < to) this.run(row, from, to, value);
  }

  /** The rectangle of pixels around coordinates, cut to the picture; null outside. */
  #around(left, top, right, bottom) {
    const rect = [
      Math.max(0, Math.floor(left)),
      Math.max(0, Math.floor(top)),
      Math.min(this.width, Math.ceil(right) + 1),
      Math.min(this.height, Math.ceil(bottom) + 1),
    ];
    return rect[0] < rect[2] && rect[1] < rect[3] ? rect : null;
  }

  /**
   * Sets every pixel whose centre lies in the convex hull of two discs, (x0, y0) of radius r0 and (x1, y1) of r1.
   * Coordinates are in pixels, a pixel's centre is at +0.5. `before(rect)` is called once before anything is written.
   * Returns the rectangle that may have changed, or null outside the picture.
   */
  capsule(x0, y0, r0, x1, y1, r1, value, before) {
    const rect = this.#around(
      Math.min(x0 - r0, x1 - r1),
      Math.min(y0 - r0, y1 - r1),
      Math.max(x0 + r0, x1 + r1),
      Math.max(y0 + r0, y1 + r1),
    );
    if (!rect) return null;
    before?.(rect);
    const sides = tangents(x0, y0, r0, x1, y1, r1);
    for (let row = rect[1]; row < rect[3]; row += 1) {
      const y = row + 0.5;
      let low = Infinity;
      let high = -Infinity;
      // The hull is convex, so each row holds one run: from its discs and its two long edges.
      const in0 = r0 * r0 - (y - y0) * (y - y0);
      if (in0 >= 0) {
        const half = Math.sqrt(in0);
        low = x0 - half;
        high = x0 + half;
      }
      const in1 = r1 * r1 - (y - y1) * (y - y1);
      if (in1 >= 0) {
        const half = Math.sqrt(in1);
        low = Math.min(low, x1 - half);
        high = Math.max(high, x1 + half);
      }
      for (const [ax, ay, bx, by] of sides) {
        const t = (y - ay) / (by - ay);
        if (!(t >= 0 && t <= 1)) continue; // NaN too: a level edge adds nothing to its discs
        const x = ax + t * (bx - ax);
        low = Math.min(low, x);
        high = Math.max(high, x);
      }
      if (low <= high) this.#between(row, low, high, value);
    }
    // A brush thinner than a pixel still leaves the pixels under its ends.
    this.#point(x0, y0, value);
    this.#point(x1, y1, value);
    return rect;
  }

  #point(x, y, value) {
    const column = Math.floor(x);
    const row = Math.floor(y);
    if (column >= 0 && row >= 0 && column < this.width && row < this.height) this.run(row, column, column + 1, value);
  }

  /**
   * Sets every pixel whose centre the closed outline goes around at least once (non-zero winding).
   * `corners`: [[x, y], …] in pixels, also beyond the picture. `before` and the result are as in `capsule`.
   */
  polygon(corners, value, before) {
    const xs = corners.map(([x]) => x);
    const ys = corners.map(([, y]) => y);
    const rect = this.#around(Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys));
    if (!rect) return null;
    before?.(rect);
    for (let row = rect[1]; row < rect[3]; row += 1) {
      const y = row + 0.5;
      const crossings = [];
      for (let i = 0; i < corners.length; i += 1) {
        const [ax, ay] = corners[i];
        const [bx, by] = corners[(i + 1) % corners.length];
        if (ay <= y === by <= y) continue;
        crossings.push([ax + ((y - ay) / (by - ay)) * (bx - ax), by > ay ? 1 : -1]);
      }
      crossings.sort((a, b) => a[0] - b[0]);
      let winding = 0;
      for (let i = 0; i + 1 < crossings.length; i += 1) {
        winding += crossings[i][1];
        if (winding) this.#between(row, crossings[i][0], crossings[i + 1][0], value);
      }
    }
    return rect;
  }

  /** Sets or takes away the pixels of another mask of the same size, within `rect`. */
  merge(other, [left, top, right, bottom], value) {
    const stride = this.stride / 4;
    for (let row = top; row < bottom; row += 1) {
      const end = row * stride + Math.ceil(right / 32);
      for (let i = row * stride + Math.floor(left / 32); i < end; i += 1) {
        if (value) this.words[i] |= other.words[i];
        else this.words[i] &= ~other.words[i];
      }
    }
  }

  /** Replaces everything by another mask of the same size. */
  set(other) {
    this.words.set(other.words);
  }
}

/** The two edges that touch both discs on the same side; none where one disc holds the other. */
function tangents(x0, y0, r0, x1, y1, r1) {
  const length = Math.hypot(x1 - x0, y1 - y0);
  if (length <= Math.abs(r0 - r1) || length === 0) return [];
  const ux = (x1 - x0) / length;
  const uy = (y1 - y0) / length;
  const along = (r0 - r1) / length;
  const across = Math.sqrt(1 - along * along);
  return [1, -1].map((side) => {
    const nx = along * ux - side * across * uy;
    const ny = along * uy + side * across * ux;
    return [x0 + r0 * nx, y0 + r0 * ny, x1 + r1 * nx, y1 + r1 * ny];
  });
}
