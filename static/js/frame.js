// The parts of a trial's page around the stage: the saved state, the line above the answers, the help dialog.
import { clockTime } from "./locale.js";
import { isFree, listen } from "./shortcuts.js";

export class Frame {
  #help = document.getElementById("help");
  #saved = document.getElementById("saved");
  #note = document.getElementById("note");

  constructor() {
    document.getElementById("help-button").addEventListener("click", () => this.#help.showModal());
    document.addEventListener("keydown", (event) => {
      if (event.key === "?" && isFree(event)) this.#help.showModal();
    });
    this.#help.addEventListener("click", (event) => {
      if (event.target === this.#help) this.#help.close();
    });
    listen(document.getElementById("shortcuts"));
  }

  /** Whether nothing lies over the page. */
  get closed() {
    return !this.#help.open;
  }

  /** The word in the top bar: `state` is none, saved or unsent. */
  show(state, word, when = null) {
    this.#saved.dataset.state = state;
    const time = when ? clockTime(when) : "";
    const text = document.createElement("span");
    if (time) text.className = "word";
    text.textContent = word;
    this.#saved.replaceChildren(text, time ? ` ${time}` : "");
  }

  /** A line above the answers, with up to two things to do about it. `tone`: plain, draft, good, warn or bad. */
  say(tone, sentence, acts = []) {
    this.#note.className = `note ${tone}`;
    this.#note.querySelector("[data-text]").textContent = sentence;
    this.#note.querySelector("[data-acts]").replaceChildren(
      ...acts.map(([label, act]) => {
        const button = document.createElement("button");
        button.type = "button";
        button.className = "button";
        button.textContent = label;
        button.addEventListener("click", act);
        return button;
      }),
    );
    this.#note.hidden = false;
  }

  quiet() {
    this.#note.hidden = true;
  }
}
