// One stroke after another: the tool in hand, its size, and what it does to mask, history and view.

const SMALLEST = 1;

export class Brush {
  #mask;
  #history;
  #view;
  #stroke = null;
  #last = null;
  #value = 1;

  constructor(mask, history, view) {
    this.#mask = mask;
    this.#history = history;
    this.#view = view;
    this.tool = "brush";
    this.largest = Math.max(8, Math.round(Math.max(mask.width, mask.height) / 2));
    this.size = Math.max(3, Math.round(Math.max(mask.width, mask.height) / 14));
    this.locked = false;
    this.onstroke = () => {};
  }

  get drawing() {
    return this.#stroke !== null;
  }

  /** Diameter in pixels of the picture. */
  resize(size) {
    this.size = Math.round(Math.min(this.largest, Math.max(SMALLEST, size)));
  }

  grow() {
    this.resize(Math.max(this.size + 1, this.size * 1.2));
  }

  shrink() {
    this.resize(Math.min(this.size - 1, this.size / 1.2));
  }

  begin(x, y, erase = this.tool === "erase") {
    if (this.locked) return;
    this.end();
    this.#value = erase ? 0 : 1;
    this.#stroke = { t: erase ? "e" : "b", s: this.size, p: [] };
    this.#history.begin(this.#stroke);
    this.#last = [x, y];
    this.#segment(x, y, x, y);
    this.#note(x, y);
  }

  move(x, y) {
    if (!this.#stroke) return;
    const [fromX, fromY] = this.#last;
    if (x === fromX && y === fromY) return;
    this.#segment(fromX, fromY, x, y);
    this.#last = [x, y];
    this.#note(x, y);
  }

  end() {
    if (!this.#stroke) return;
    this.#stroke = null;
    if (this.#history.commit()) this.onstroke();
  }

  /** A second finger came down: this was a gesture, not a stroke. */
  abandon() {
    if (!this.#stroke) return;
    this.#stroke = null;
    this.#view.touch(this.#history.abandon());
  }

  #segment(x0, y0, x1, y1) {
    const rect = this.#mask.capsule(x0, y0, x1, y1, this.size / 2, this.#value, (area) => this.#history.touch(area));
    if (rect) this.#view.touch(rect);
  }

  /** The path as whole pixels; points nearer than a tenth of the brush say nothing new. */
  #note(x, y) {
    const path = this.#stroke.p;
    const px = Math.round(x);
    const py = Math.round(y);
    const near = path.length && Math.hypot(px - path[path.length - 2], py - path[path.length - 1]);
    if (path.length && near < Math.max(1, this.size / 10)) return;
    path.push(px, py);
  }

  /** Everything away, as one step that can be undone. */
  clear() {
    if (this.locked || this.#mask.empty) return;
    this.end();
    this.#history.begin({ t: "c" });
    this.#history.touch(this.#mask.all);
    this.#mask.data.fill(0);
    this.#history.commit();
    this.#view.touch();
    this.onstroke();
  }

  undo() {
    this.#step(() => this.#history.undo());
  }

  redo() {
    this.#step(() => this.#history.redo());
  }

  #step(act) {
    if (this.locked) return;
    this.end();
    const rect = act();
    if (!rect) return;
    this.#view.touch(rect);
    this.onstroke();
  }
}
