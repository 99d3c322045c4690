// The outline: corner by corner; back at the first one (or twice at one place, or Enter) it closes and is painted.

const TWICE_MS = 400;
const LEAST = 3;

export class Outline {
  #desk;
  #node;
  #corners = [];
  #erase = false;
  #tip = null; // where the pointer or the crosshair is
  #closing = false; // the press that is not yet released closes
  #held = false;
  #lastPress = -Infinity;

  /** `node`: an <svg> over the easel with two polylines and a circle. */
  constructor(desk, node) {
    this.#desk = desk;
    this.#node = node;
    this.onchange = () => {};
  }

  get open() {
    return this.#corners.length > 0;
  }

  /** `reach`: screen pixels that count as the same place, more for a finger. */
  press(x, y, { erase = false, reach = 10 } = {}) {
    if (this.#desk.locked) return;
    const now = performance.now();
    const twice = now - this.#lastPress < TWICE_MS && this.#near(this.#corners.length - 1, x, y, reach);
    this.#lastPress = now;
    this.#held = true;
    this.#closing = twice || (this.#corners.length >= LEAST && this.#near(0, x, y, reach));
    if (!this.#closing) {
      if (!this.#corners.length) this.#erase = erase;
      this.#corners.push([x, y]);
    }
    this.#tip = null;
    this.show();
  }

  /** A corner follows until it is let go. */
  drag(x, y) {
    if (!this.#held || this.#closing) return;
    this.#corners[this.#corners.length - 1] = [x, y];
    this.show();
  }

  hover(x, y) {
    if (!this.open) return;
    this.#tip = [x, y];
    this.show();
  }

  release() {
    if (!this.#held) return;
    this.#held = false;
    if (this.#closing) this.close();
    else this.onchange();
  }

  abandon() {
    if (this.#held && !this.#closing) this.#corners.pop();
    this.#held = false;
    this.#closing = false;
    this.show();
    this.onchange();
  }

  /** Without its last corner. */
  back() {
    this.#corners.pop();
    this.show();
    this.onchange();
  }

  /** Given up. */
  drop() {
    this.#corners = [];
    this.#tip = null;
    this.#held = false;
    this.#closing = false;
    this.#lastPress = -Infinity;
    this.show();
    this.onchange();
  }

  close() {
    if (!this.open || this.#desk.locked) return;
    if (this.#corners.length < LEAST) {
      this.#closing = false;
      this.#desk.onrefuse("outlineShort");
      return;
    }
    const corners = this.#corners;
    const value = this.#erase ? 0 : 1;
    this.drop();
    const stroke = { t: "p", p: corners.flat().map(Math.round) };
    if (!value) stroke.e = 1;
    this.#desk.step(stroke, (before) => this.#desk.mask.polygon(corners, value, before));
  }

  #near(number, x, y, reach) {
    const corner = this.#corners[number];
    return corner !== undefined && Math.hypot(corner[0] - x, corner[1] - y) * this.#desk.view.scale <= reach;
  }

  /** Draws the line where the picture now is. */
  show() {
    this.#node.toggleAttribute("hidden", !this.open);
    if (!this.open) return;
    const { view } = this.#desk;
    const places = [...this.#corners, ...(this.#tip ? [this.#tip] : [])].map(([x, y]) => view.toScreen(x, y));
    const points = places.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");
    for (const line of this.#node.querySelectorAll("polyline")) line.setAttribute("points", points);
    const first = this.#node.querySelector("circle");
    first.setAttribute("cx", places[0][0]);
    first.setAttribute("cy", places[0][1]);
    this.#node.classList.toggle("closable", this.#corners.length >= LEAST);
    this.#node.classList.toggle("erase", this.#erase);
  }
}
