// Pictures and maps of a page that is plain HTML: <img data-picture>, <canvas data-picture>, <canvas data-map="0">.
import { compose, VIEWS } from "./compose.js";
import { bitmap, mapBytes, pixels } from "./pictures.js";

const TRIES = 4;

/** Resolves when a picture is decoded; one that does not come is asked for again, three times. */
async function decoded(image) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await image.decode();
    } catch (error) {
      if (attempt === TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, 250 * 2 ** attempt));
      image.src = image.getAttribute("src");
    }
  }
}

/** The next frame but one: what was drawn before is on the screen then. */
const painted = () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));

export class Stimuli {
  #sheets = [...document.querySelectorAll("canvas[data-picture], canvas[data-map]")];
  #images = [...document.querySelectorAll("img[data-picture], .stage img")];
  #drawn = [];
  #look;
  #bare = false;

  /** `page`: view, colormap, opacity, as far as the server says them. */
  constructor(page = {}) {
    this.#look = {
      view: VIEWS.includes(page.view) ? page.view : "overlay",
      strength: page.opacity ?? 0.6,
      colours: page.colormap ?? "cividis",
    };
  }

  get hasMaps() {
    return this.#sheets.some((sheet) => sheet.dataset.map !== undefined);
  }

  /** Loads everything that the page shows, of `urls` { picture, maps }; `size`: the canvas' { width, height }. */
  async load(urls, size) {
    for (const image of this.#images) if (!image.getAttribute("src")) image.src = urls.picture;
    for (const sheet of this.#sheets) {
      if (!sheet.hasAttribute("width")) Object.assign(sheet, size);
    }
    const shown = this.#sheets.length ? bitmap(urls.picture) : null;
    const sheets = this.#sheets.map(async (sheet) => {
      const { width, height } = sheet;
      const address = sheet.dataset.map === undefined ? null : urls.maps[Number(sheet.dataset.map)];
      const map = address ? await mapBytes(address, width, height) : null;
      return { context: sheet.getContext("2d"), picture: pixels(await shown, width, height), map };
    });
    this.#drawn = await Promise.all([...sheets, ...this.#images.map(decoded)]).then((all) => all.slice(0, sheets.length));
    this.#draw();
    document.body.classList.remove("waiting");
    await painted();
  }

  #draw() {
    const { view, strength, colours } = this.#look;
    const full = view === "overlay" ? strength : 1;
    for (const { context, picture, map } of this.#drawn) compose(context, picture, this.#bare ? null : map, view, full, colours);
  }

  /** The bare picture, as long as a key or a finger is held. Says whether that changed anything. */
  peek(on) {
    if (this.#bare === on || !this.hasMaps) return false;
    this.#bare = on;
    this.#draw();
    return true;
  }
}
