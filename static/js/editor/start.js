// A starting map: where the model's explanation is at least so strong, as one step that stays replaceable until the
// person paints.

export class Start {
  #desk;
  #values;
  #width;
  #height;

  /** `values`: the explanation as one byte a pixel, width × height, 255 its maximum. */
  constructor(desk, values, width, height) {
    this.#desk = desk;
    this.#values = values;
    this.#width = width;
    this.#height = height;
  }

  /** Whether the person has not yet painted anything themselves. */
  get fresh() {
    return this.#desk.history.strokes.every((stroke) => stroke.t === "s");
  }

  get locked() {
    return this.#desk.locked;
  }

  /** The threshold that stands, in per cent of the maximum, or null. */
  get threshold() {
    return this.#desk.history.strokes.find((stroke) => stroke.t === "s")?.v ?? null;
  }

  /** Puts [explanation ≥ threshold] in place of an earlier threshold's. */
  apply(threshold) {
    if (!this.fresh || this.#desk.locked) return;
    const { mask, history } = this.#desk;
    history.reset();
    mask.clear();
    const done = this.#desk.step({ t: "s", v: threshold }, (before) => {
      before(mask.all);
      this.#write((255 * threshold) / 100);
      return mask.all;
    });
    this.#desk.view.touch();
    if (!done) this.#desk.onstep("s"); // nothing is that strong
  }

  /** An empty mask again. */
  away() {
    if (!this.fresh || this.#desk.locked) return;
    this.#desk.mask.clear();
    this.#desk.history.reset();
    this.#desk.view.touch();
    this.#desk.onstep("empty");
  }

  /**
   * Bilinear to the mask's size, values at the centres of cells, flat beyond the outermost. Between two centres of a
   * row the interpolated map is a straight line, so that a row is a few runs between the places where it crosses.
   */
  #write(level) {
    const { mask } = this.#desk;
    const [width, height] = [this.#width, this.#height];
    const row = new Float32Array(width);
    const across = mask.width / width; // picture pixels a cell
    for (let y = 0; y < mask.height; y += 1) {
      const place = Math.min(height - 1, Math.max(0, ((y + 0.5) * height) / mask.height - 0.5));
      const above = Math.floor(place) * width;
      const below = Math.min(height - 1, Math.floor(place) + 1) * width;
      const share = place - Math.floor(place);
      for (let i = 0; i < width; i += 1) {
        row[i] = this.#values[above + i] * (1 - share) + this.#values[below + i] * share - level;
      }
      let from = row[0] >= 0 ? 0 : null; // picture pixels, where the open run begins
      for (let i = 1; i < width; i += 1) {
        if (row[i] >= 0 === row[i - 1] >= 0) continue;
        const crossing = (i - 0.5 + row[i - 1] / (row[i - 1] - row[i])) * across;
        if (from === null) {
          from = crossing;
        } else {
          this.#run(y, from, crossing);
          from = null;
        }
      }
      if (from !== null) this.#run(y, from, mask.width);
    }
  }

  #run(y, low, high) {
    const from = Math.max(0, Math.ceil(low - 0.5));
    const to = Math.min(this.#desk.mask.width, Math.floor(high - 0.5) + 1);
    if (from < to) this.#desk.mask.run(y, from, to, 1);
  }
}
