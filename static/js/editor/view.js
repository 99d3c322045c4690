// What the eye sees: the picture and the mask at the screen's resolution, with zoom and pan.
import { Levels } from "./levels.js";
import { union } from "./mask.js";
import { Sheet, colour } from "./sheet.js";

const MOST_ZOOM = 32;
const CRISP_FROM = 6; // device pixels a picture pixel: from here on pixels are shown as squares
const FILL = [61, 126, 230]; // the accent, light enough to be seen on dark pictures
const EDGE = [214, 232, 255];

export class View {
  #picture;
  #mask;
  #levels;
  #sheet;
  #dirty = null;
  #whole = true;
  #asked = false;

  /** `easel`: the element around; `bitmap`: the decoded picture; `mask`: Mask of the picture's size. */
  constructor(easel, bitmap, mask) {
    this.easel = easel;
    this.#levels = new Levels(bitmap);
    this.#mask = mask;
    const [picture, sheet] = easel.querySelectorAll("canvas");
    this.#picture = picture;
    this.#sheet = new Sheet(sheet, mask);
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
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    if (box.width === this.width && box.height === this.height && ratio === this.ratio) return;
    const fitted = this.width === undefined || Math.abs(this.scale - this.fitScale) < 1e-6;
    this.ratio = ratio;
    this.width = box.width;
    this.height = box.height;
    this.#picture.width = Math.round(box.width * ratio);
    this.#picture.height = Math.round(box.height * ratio);
    this.#sheet.resize(this.#picture.width, this.#picture.height, ratio);
    if (fitted) this.fit();
    else this.#moved();
  }

  /** Bytes of the screen's copy of the mask. */
  get bytes() {
    return this.#sheet.bytes;
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
    const [px, py] = this.toScreen(x, y);
    const dx = Math.max(0, margin - px) - Math.max(0, px - (this.width - margin));
    const dy = Math.max(0, margin - py) - Math.max(0, py - (this.height - margin));
    if (dx || dy) this.pan(dx, dy);
  }

  toPicture(px, py) {
    return [(px - this.x) / this.scale, (py - this.y) / this.scale];
  }

  toScreen(x, y) {
    return [this.x + x * this.scale, this.y + y * this.scale];
  }

  #moved() {
    // Some of the picture always stays in sight.
    const keep = 48;
    this.x = Math.min(Math.max(this.x, keep - this.#mask.width * this.scale), this.width - keep);
    this.y = Math.min(Math.max(this.y, keep - this.#mask.height * this.scale), this.height - keep);
    this.#whole = true;
    this.#ask();
    this.onchange();
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
    const [fill, edge] = this.visible ? [colour(FILL, Math.round(255 * this.opacity)), colour(EDGE, 255)] : [0, 0];
    if (this.#whole) {
      this.#paintPicture();
      this.#sheet.place(...this.#corner, this.scale * this.ratio);
      // All of the easel, so that what stood beside the picture before goes too.
      const [left, top] = this.toPicture(0, 0);
      const [right, bottom] = this.toPicture(this.width, this.height);
      this.#sheet.paint([left, top, right, bottom], fill, edge);
    } else if (this.#dirty) {
      this.#sheet.paint(this.#dirty, fill, edge);
    }
    this.#whole = false;
    this.#dirty = null;
  }

  /** The picture's corner on whole device pixels: at 100 % nothing is resampled, and nothing shimmers on the move. */
  get #corner() {
    return [Math.round(this.x * this.ratio), Math.round(this.y * this.ratio)];
  }

  #paintPicture() {
    const context = this.#picture.getContext("2d", { alpha: true });
    const k = this.scale * this.ratio;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.#picture.width, this.#picture.height);
    context.setTransform(k, 0, 0, k, ...this.#corner);
    context.imageSmoothingEnabled = k < CRISP_FROM;
    context.imageSmoothingQuality = "low"; // the copies in halves make more unnecessary
    context.drawImage(this.#levels.at(k), 0, 0, this.#mask.width, this.#mask.height);
  }
}
