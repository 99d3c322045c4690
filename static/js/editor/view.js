// What the eye sees: the picture and the mask at the screen's resolution, with zoom and pan.
import { union } from "./mask.js";

const MOST_ZOOM = 32;
const FILL = [61, 126, 230]; // the accent, light enough to be seen on dark pictures
const EDGE = [214, 232, 255];

export class View {
  #picture;
  #mask;
  #bitmap;
  #dirty = null;
  #whole = true;
  #asked = false;
  #columns = new Int32Array(0);
  #rows = new Int32Array(0);

  /** `easel`: the element around; `bitmap`: the decoded picture; `mask`: Mask of the picture's size. */
  constructor(easel, bitmap, mask) {
    this.easel = easel;
    this.#bitmap = bitmap;
    this.#mask = mask;
    [this.#picture, this.sheet] = easel.querySelectorAll("canvas");
    this.opacity = 0.45;
    this.visible = true;
    this.scale = 1; // CSS pixels a picture pixel
    this.x = 0;
    this.y = 0;
    this.onchange = () => {};
    new ResizeObserver(() => this.#resize()).observe(easel);
    this.#resize();
  }

  #resize() {
    const box = this.easel.getBoundingClientRect();
    if (!box.width || !box.height) return;
    const fitted = this.width === undefined || Math.abs(this.scale - this.fitScale) < 1e-6;
    this.ratio = Math.min(window.devicePixelRatio || 1, 2);
    this.width = box.width;
    this.height = box.height;
    for (const canvas of [this.#picture, this.sheet]) {
      canvas.width = Math.round(box.width * this.ratio);
      canvas.height = Math.round(box.height * this.ratio);
    }
    if (fitted) this.fit();
    else this.#moved();
  }

  get fitScale() {
    const margin = this.width < 500 ? 8 : 24;
    return Math.min((this.width - 2 * margin) / this.#mask.width, (this.height - 2 * margin) / this.#mask.height);
  }

  fit() {
    this.scale = this.fitScale;
    this.x = (this.width - this.#mask.width * this.scale) / 2;
    this.y = (this.height - this.#mask.height * this.scale) / 2;
    this.#moved();
  }

  /** Zooms so that the picture's point under (px, py) of the easel stays there. */
  zoom(factor, px = this.width / 2, py = this.height / 2) {
    const next = Math.min(Math.max(this.scale * factor, this.fitScale / 2), Math.max(MOST_ZOOM, this.fitScale));
    const grown = next / this.scale;
    this.x = px - (px - this.x) * grown;
    this.y = py - (py - this.y) * grown;
    this.scale = next;
    this.#moved();
  }

  pan(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.#moved();
  }

  /** Moves as little as is needed to have a picture's point in sight. */
  reveal(x, y) {
    const margin = 32;
    const px = this.x + x * this.scale;
    const py = this.y + y * this.scale;
    const dx = Math.max(0, margin - px) - Math.max(0, px - (this.width - margin));
    const dy = Math.max(0, margin - py) - Math.max(0, py - (this.height - margin));
    if (dx || dy) this.pan(dx, dy);
  }

  toPicture(px, py) {
    return [(px - this.x) / this.scale, (py - this.y) / this.scale];
  }

  #moved() {
    // Some of the picture always stays in sight.
    const keep = 48;
    this.x = Math.min(Math.max(this.x, keep - this.#mask.width * this.scale), this.width - keep);
    this.y = Math.min(Math.max(this.y, keep - this.#mask.height * this.scale), this.height - keep);
    this.#columns = this.#lookUp(this.sheet.width, this.x, this.#mask.width);
    this.#rows = this.#lookUp(this.sheet.height, this.y, this.#mask.height);
    this.#whole = true;
    this.#ask();
    this.onchange();
  }

  /** For each device pixel the mask's column or row under it, −1 outside. */
  #lookUp(count, offset, size) {
    const found = new Int32Array(count);
    for (let i = 0; i < count; i += 1) {
      const at = Math.floor(((i + 0.5) / this.ratio - offset) / this.scale);
      found[i] = at >= 0 && at < size ? at : -1;
    }
    return found;
  }

  /** Says that the mask changed in a rectangle of the picture (all of it when none is given). */
  touch(rect) {
    this.#dirty = union(this.#dirty, rect ?? this.#mask.all);
    this.#ask();
  }

  #ask() {
    if (this.#asked) return;
    this.#asked = true;
    requestAnimationFrame(() => this.#paint());
  }

  #paint() {
    this.#asked = false;
    if (this.#whole) this.#paintPicture();
    const rect = this.#whole ? this.#mask.all : this.#dirty;
    this.#whole = false;
    this.#dirty = null;
    if (rect) this.#paintMask(rect);
  }

  #paintPicture() {
    const context = this.#picture.getContext("2d");
    const k = this.scale * this.ratio;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.#picture.width, this.#picture.height);
    context.setTransform(k, 0, 0, k, this.x * this.ratio, this.y * this.ratio);
    context.imageSmoothingEnabled = this.scale < 6;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.#bitmap, 0, 0, this.#mask.width, this.#mask.height);
    this.sheet.getContext("2d").clearRect(0, 0, this.sheet.width, this.sheet.height);
  }

  #paintMask([left, top, right, bottom]) {
    const k = this.scale * this.ratio;
    const line = Math.max(1, Math.round(this.ratio));
    const grow = line + 2;
    const x0 = Math.max(0, Math.floor(this.x * this.ratio + left * k) - grow);
    const y0 = Math.max(0, Math.floor(this.y * this.ratio + top * k) - grow);
    const x1 = Math.min(this.sheet.width, Math.ceil(this.x * this.ratio + right * k) + grow);
    const y1 = Math.min(this.sheet.height, Math.ceil(this.y * this.ratio + bottom * k) + grow);
    if (x0 >= x1 || y0 >= y1) return;
    const context = this.sheet.getContext("2d");
    const image = context.createImageData(x1 - x0, y1 - y0);
    if (this.visible) {
      const out = new Uint32Array(image.data.buffer);
      const { data, width } = this.#mask;
      const columns = this.#columns;
      const fill = colour(FILL, Math.round(255 * this.opacity));
      const edge = colour(EDGE, 255);
      const set = (column, row) => column >= 0 && row >= 0 && data[row * width + column] === 1;
      const at = (list, index) => (index >= 0 && index < list.length ? list[index] : -1);
      for (let y = y0; y < y1; y += 1) {
        const row = this.#rows[y];
        if (row < 0) continue;
        const up = at(this.#rows, y - line);
        const down = at(this.#rows, y + line);
        const base = (y - y0) * (x1 - x0) - x0;
        for (let x = x0; x < x1; x += 1) {
          const column = columns[x];
          if (column < 0 || data[row * width + column] === 0) continue;
          const inner =
            set(column, up) && set(column, down) && set(at(columns, x - line), row) && set(at(columns, x + line), row);
          out[base + x] = inner ? fill : edge;
        }
      }
    }
    context.putImageData(image, x0, y0);
  }
}

/** Bytes r, g, b, a as one little-endian word, the order of ImageData on every platform that browsers run on. */
function colour([r, g, b], a) {
  return ((a << 24) | (b << 16) | (g << 8) | r) >>> 0;
}
