// The fill: what a closed outline encloses is painted; held to erase, a painted patch goes.
import { flood } from "./flood.js";

export class Fill {
  #desk;
  #aim = null;

  constructor(desk) {
    this.#desk = desk;
  }

  get open() {
    return false;
  }

  press(x, y, { erase = false } = {}) {
    this.#aim = [x, y, erase];
  }

  // Pressed on one place and released on another, the last one counts.
  drag(x, y) {
    if (this.#aim) this.#aim = [x, y, this.#aim[2]];
  }

  hover() {}

  abandon() {
    this.#aim = null;
  }

  drop() {
    this.#aim = null;
  }

  back() {}

  release() {
    if (!this.#aim) return;
    const [x, y, erase] = this.#aim;
    this.#aim = null;
    const { mask, locked } = this.#desk;
    const column = Math.floor(x);
    const row = Math.floor(y);
    if (locked || column < 0 || row < 0 || column >= mask.width || row >= mask.height) return;
    if (mask.at(column, row) !== (erase ? 1 : 0)) {
      this.#desk.onrefuse(erase ? "fillNotPainted" : "fillPainted");
      return;
    }
    const found = flood(mask, column, row, !erase);
    if (!found) {
      this.#desk.onrefuse("fillOpen");
      return;
    }
    const stroke = { t: "f", p: [column, row] };
    if (erase) stroke.e = 1;
    this.#desk.step(stroke, (before) => {
      before(found.rect);
      mask.merge(found.region, found.rect, !erase);
      return found.rect;
    });
  }
}
