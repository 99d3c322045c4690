// What all tools share: the mask, its history and the view, the tool in hand, and steps that can be undone.

export class Desk {
  #tools = {};

  constructor(mask, history, view) {
    this.mask = mask;
    this.history = history;
    this.view = view;
    this.tool = "brush";
    this.locked = false;
    this.onstep = () => {}; // (what): the mask changed by one step, forwards or backwards
    this.onrefuse = () => {}; // (key of a sentence): nothing was done, and why
  }

  /** A tool answers to press(x, y, how), drag, hover, release and abandon; see brush.js. */
  add(name, tool) {
    this.#tools[name] = tool;
  }

  get hand() {
    return this.#tools[this.tool];
  }

  take(name) {
    if (name === this.tool) return;
    this.hand.drop();
    this.tool = name;
  }

  /** Paints as one step: `paint(before)` writes into the mask, calls `before(rect)` first and gives the rectangle. */
  step(stroke, paint) {
    this.history.begin(stroke);
    const rect = paint((area) => this.history.touch(area));
    if (!this.history.commit()) return false;
    this.view.touch(rect);
    this.onstep(stroke.t);
    return true;
  }

  /** Everything away, as one step that can be undone. */
  clear() {
    if (this.locked || this.mask.empty) return;
    this.hand.drop();
    this.step({ t: "c" }, (before) => {
      before(this.mask.all);
      this.mask.clear();
      return this.mask.all;
    });
  }

  get canUndo() {
    return !this.locked && (this.hand.open || this.history.canUndo);
  }

  get canRedo() {
    return !this.locked && this.history.canRedo;
  }

  undo() {
    if (this.locked) return;
    // What is not finished goes first: a corner of an outline, or the stroke under the pointer.
    if (this.hand.open) this.hand.back();
    else this.#turn("undo");
  }

  redo() {
    if (!this.locked && !this.hand.open) this.#turn("redo");
  }

  #turn(what) {
    const rect = this.history[what]();
    if (!rect) return;
    this.view.touch(rect);
    this.onstep(what);
  }
}
