// The brush's outline under the pointer, or a crosshair for the keyboard.

export class Ring {
  #node;
  #desk;
  #size;
  #at = null;
  #shown = 0;

  constructor(node, desk, size) {
    this.#node = node;
    this.#desk = desk;
    this.#size = size;
  }

  move(px, py, cross = false) {
    this.#at = [px, py, cross];
    const round = this.#desk.tool === "brush" || this.#desk.tool === "erase";
    const size = round ? Math.max(6, this.#size.value * this.#desk.view.scale) : 18;
    const { style, classList } = this.#node;
    if (size !== this.#shown) {
      this.#shown = size;
      style.width = `${size}px`;
      style.height = `${size}px`;
    }
    style.transform = `translate(${px - size / 2}px, ${py - size / 2}px)`;
    classList.toggle("erase", this.#desk.tool === "erase");
    classList.toggle("cross", cross);
    classList.toggle("bare", !round);
    this.#node.hidden = !round && !cross; // the system's own crosshair is there
  }

  refresh() {
    if (this.#at) this.move(...this.#at);
  }

  hide() {
    this.#at = null;
    this.#node.hidden = true;
  }
}
