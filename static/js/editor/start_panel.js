// The strip that offers the starting map: how strong the explanation must be, or an empty picture.

const FIRST = 50; // per cent of the map's maximum
const PAUSE_MS = 300; // one line of the record and one draft for one move of the slider

export class StartPanel {
  #node;
  #start;
  #clock;
  #slider;
  #read;
  #asked = false;
  #declined = false; // an empty picture was chosen
  #timer = 0;
  #changed = () => {};

  /** `node`: the element around; `start`: Start; `clock`: Clock. */
  constructor(node, start, clock) {
    this.#node = node;
    this.#start = start;
    this.#clock = clock;
    this.#slider = node.querySelector("input");
    this.#read = node.querySelector("output");
    this.#slider.value = FIRST;
  }

  /** Puts the first map; nothing of it counts as a change by the person. */
  begin() {
    this.#start.apply(FIRST);
  }

  /** Whether a step of this name is the strip's own. */
  owns(what) {
    return what === "s" || what === "empty";
  }

  /** `changed`: what the frame does after a change by the person. */
  listen(changed) {
    this.#changed = changed;
    this.#slider.addEventListener("input", () => {
      this.#show();
      if (this.#asked) return;
      this.#asked = true;
      requestAnimationFrame(() => {
        this.#asked = false;
        this.#start.apply(this.#slider.valueAsNumber);
      });
      this.#note("start", () => this.#slider.valueAsNumber);
    });
    this.#node.querySelector("button").addEventListener("click", () => {
      this.#declined = true;
      this.#start.away();
      // One press, told at once: a pause later it would hush what was said meanwhile ("Nothing is painted yet").
      clearTimeout(this.#timer);
      this.#clock.note("start", "empty");
      this.#changed();
    });
  }

  #note(what, value) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#clock.note(what, value());
      this.#changed();
    }, PAUSE_MS);
  }

  #show() {
    this.#read.value = `${this.#slider.valueAsNumber} %`;
    this.#slider.setAttribute("aria-valuetext", this.#read.value);
  }

  refresh() {
    this.#node.hidden = this.#declined || !this.#start.fresh;
    if (this.#start.threshold !== null) this.#slider.value = this.#start.threshold;
    this.#show();
    const { locked } = this.#start;
    this.#slider.disabled = locked;
    this.#node.querySelector("button").disabled = locked;
  }
}
