// The brush, which paints or erases: one stroke from press to release.
//
// Every tool has the same handles; (x, y) are pixels of the picture:
//   press(x, y, { erase, width, reach })   drag(x, y, width)   release()   hover(x, y)
//   abandon()  the press was none, a second finger came      drop()  another tool is taken
//   back()     takes back the last part of what is `open`

const SMALLEST = 1;

export class Brush {
  #desk;
  #name;
  #size;
  #stroke = null;
  #last = null;
  #value = 1;

  /** `name`: "brush" or "erase"; `size`: shared by both, see Size. */
  constructor(desk, name, size) {
    this.#desk = desk;
    this.#name = name;
    this.#size = size;
  }

  get open() {
    return this.#stroke !== null;
  }

  /** `width`: the share of the brush's diameter that the pen's pressure leaves. */
  press(x, y, { erase = false, width = 1 } = {}) {
    if (this.#desk.locked) return;
    this.release();
    const away = erase || this.#name === "erase";
    this.#value = away ? 0 : 1;
    this.#stroke = { t: away ? "e" : "b", s: this.#size.value, p: [], w: [] };
    this.#desk.history.begin(this.#stroke);
    this.#last = [x, y, width];
    this.#segment(x, y, width);
    this.#note(x, y, width);
  }

  drag(x, y, width = 1) {
    if (!this.#stroke) return;
    if (x === this.#last[0] && y === this.#last[1] && width === this.#last[2]) return;
    this.#segment(x, y, width);
    this.#last = [x, y, width];
    this.#note(x, y, width);
  }

  hover() {}

  release() {
    const stroke = this.#stroke;
    if (!stroke) return;
    this.#stroke = null;
    if (stroke.w.every((width) => width === 100)) delete stroke.w;
    if (this.#desk.history.commit()) this.#desk.onstep(stroke.t);
  }

  drop() {
    this.release();
  }

  abandon() {
    if (!this.#stroke) return;
    this.#stroke = null;
    const rect = this.#desk.history.abandon();
    if (rect) this.#desk.view.touch(rect);
  }

  back() {
    this.abandon();
  }

  #segment(x, y, width) {
    const [fromX, fromY, fromWidth] = this.#last;
    const radius = this.#size.value / 2;
    const { mask, history, view } = this.#desk;
    const rect = mask.capsule(fromX, fromY, radius * fromWidth, x, y, radius * width, this.#value, (area) =>
      history.touch(area),
    );
    if (rect) view.touch(rect);
  }

  /** The path as whole pixels, widths in per cent; points nearer than a tenth of the brush say nothing new. */
  #note(x, y, width) {
    const { p: path, w: widths } = this.#stroke;
    const px = Math.round(x);
    const py = Math.round(y);
    const near = path.length && Math.hypot(px - path[path.length - 2], py - path[path.length - 1]);
    if (path.length && near < Math.max(1, this.#size.value / 10)) return;
    path.push(px, py);
    widths.push(Math.round(100 * width));
  }
}

/** The brush's diameter in pixels of the picture. */
export class Size {
  constructor(mask) {
    const side = Math.max(mask.width, mask.height);
    this.largest = Math.max(8, Math.round(side / 2));
    this.value = Math.max(3, Math.round(side / 14));
  }

  set(value) {
    this.value = Math.round(Math.min(this.largest, Math.max(SMALLEST, value)));
  }

  grow() {
    this.set(Math.max(this.value + 1, this.value * 1.2));
  }

  shrink() {
    this.set(Math.min(this.value - 1, this.value / 1.2));
  }
}
