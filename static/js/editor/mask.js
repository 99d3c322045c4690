// The mask: one byte a pixel at the picture's own resolution, and the brush that writes into it.

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
    this.data = new Uint8Array(width * height);
  }

  get empty() {
    return !this.data.includes(1);
  }

  get all() {
    return [0, 0, this.width, this.height];
  }

  /**
   * Sets every pixel whose centre lies within `radius` of the segment (x0, y0)–(x1, y1) to `value`.
   * Coordinates are in pixels, a pixel's centre is at +0.5. `before(rect)` is called once before anything is written.
   * Returns the rectangle that may have changed, or null outside the picture.
   */
  capsule(x0, y0, x1, y1, radius, value, before) {
    const top = Math.max(0, Math.floor(Math.min(y0, y1) - radius));
    const bottom = Math.min(this.height, Math.ceil(Math.max(y0, y1) + radius) + 1);
    const left = Math.max(0, Math.floor(Math.min(x0, x1) - radius));
    const right = Math.min(this.width, Math.ceil(Math.max(x0, x1) + radius) + 1);
    if (left >= right || top >= bottom) return null;
    const rect = [left, top, right, bottom];
    before?.(rect);
    const length = Math.hypot(x1 - x0, y1 - y0);
    const nx = length ? (-(y1 - y0) / length) * radius : 0;
    const ny = length ? ((x1 - x0) / length) * radius : 0;
    for (let row = top; row < bottom; row += 1) {
      const y = row + 0.5;
      let low = Infinity;
      let high = -Infinity;
      // The capsule is convex, so each row holds one run: from its discs and its two long edges.
      for (const [cx, cy] of [[x0, y0], [x1, y1]]) {
        const inside = radius * radius - (y - cy) * (y - cy);
        if (inside < 0) continue;
        const half = Math.sqrt(inside);
        low = Math.min(low, cx - half);
        high = Math.max(high, cx + half);
      }
      if (y1 !== y0) {
        for (const side of [1, -1]) {
          const t = (y - (y0 + side * ny)) / (y1 - y0);
          if (t < 0 || t > 1) continue;
          const x = x0 + side * nx + t * (x1 - x0);
          low = Math.min(low, x);
          high = Math.max(high, x);
        }
      }
      if (high < low) continue;
      const from = Math.max(left, Math.ceil(low - 0.5));
      const to = Math.min(right, Math.floor(high - 0.5) + 1);
      if (from < to) this.data.fill(value, row * this.width + from, row * this.width + to);
    }
    // A brush thinner than a pixel still leaves the pixels under its ends.
    this.#point(x0, y0, value);
    this.#point(x1, y1, value);
    return rect;
  }

  #point(x, y, value) {
    const column = Math.floor(x);
    const row = Math.floor(y);
    if (column >= 0 && row >= 0 && column < this.width && row < this.height) {
      this.data[row * this.width + column] = value;
    }
  }

  /** Replaces everything. */
  set(values) {
    this.data.set(values);
  }
}
