// The picture in halves, quarters and so on, so that moving a picture of 12 megapixels costs what the screen costs.

const SMALLEST = 512;

export class Levels {
  #list;

  /** `bitmap`: the decoded picture; the copies are made here, once. */
  constructor(bitmap) {
    this.#list = [bitmap];
    for (let from = bitmap; Math.max(from.width, from.height) > 2 * SMALLEST; ) {
      const canvas = document.createElement("canvas");
      canvas.width = Math.ceil(from.width / 2);
      canvas.height = Math.ceil(from.height / 2);
      // Exactly between four pixels, bilinear is their mean.
      canvas.getContext("2d").drawImage(from, 0, 0, canvas.width, canvas.height);
      this.#list.push(canvas);
      from = canvas;
    }
  }

  /** The smallest copy that has at least one pixel for each of `scale` device pixels a picture pixel. */
  at(scale) {
    let level = 0;
    while (level + 1 < this.#list.length && 0.5 ** (level + 1) >= scale) level += 1;
    return this.#list[level];
  }
}
