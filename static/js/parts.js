// Matched parts of a picture and its neighbours: a number lights the same part on the picture and on the neighbour in
// hand. A board holds `.seen` with a group of boxes a neighbour, `.neighbour`s with theirs, and `.chips` with the numbers.
import { isFree } from "./shortcuts.js";

const partOf = (node) => node.closest?.("[data-patch]")?.dataset.patch ?? null;

/** Joins the parts of one board; the keys [ ] and Escape are taken by what is returned, true where it used the key. */
export function join(board) {
  const drawn = [...board.querySelectorAll(".seen [data-neighbour]")]; // each neighbour's boxes on the large picture
  const neighbours = [...board.querySelectorAll(".neighbour")];
  const chips = [...board.querySelectorAll(".chip")];
  let inHand = 0;
  let kept = null; // the part that a press keeps lit

  function light(part) {
    board.classList.toggle("has-lit", part !== null);
    for (const node of board.querySelectorAll("[data-patch].lit")) node.classList.remove("lit");
    if (part === null) return;
    for (const root of [drawn[inHand], neighbours[inHand], board.querySelector(".chips")]) {
      for (const node of root.querySelectorAll(`[data-patch="${part}"]`)) node.classList.add("lit");
    }
  }

  function keep(part) {
    kept = part;
    for (const chip of chips) chip.setAttribute("aria-pressed", String(chip.dataset.patch === part));
    light(part);
  }

  /** Takes a neighbour in hand: its boxes stand on the large picture. */
  function take(index) {
    const next = Math.max(0, Math.min(neighbours.length - 1, index));
    if (next === inHand) return;
    inHand = next;
    drawn.forEach((group, one) => group.toggleAttribute("hidden", one !== inHand));
    neighbours.forEach((item, one) => {
      item.classList.toggle("in-hand", one === inHand);
      item.querySelector("button").setAttribute("aria-pressed", String(one === inHand));
    });
    const parts = drawn[inHand].querySelectorAll("circle").length;
    chips.forEach((chip, one) => {
      chip.hidden = one >= parts;
    });
    neighbours[inHand].scrollIntoView({ block: "nearest", inline: "nearest" });
    keep(kept !== null && Number(kept) <= parts ? kept : null);
  }

  for (const [index, item] of neighbours.entries()) {
    item.addEventListener("click", (event) => {
      take(index);
      const part = partOf(event.target);
      if (part !== null) keep(part === kept ? null : part);
    });
    // A part of another neighbour is shown with its partner: that neighbour comes in hand.
    item.addEventListener("pointerover", (event) => {
      if (partOf(event.target) !== null && event.pointerType === "mouse") take(index);
    });
  }
  for (const node of [drawn[0].ownerSVGElement, ...chips]) {
    node.addEventListener("click", (event) => {
      const part = partOf(event.target);
      if (part !== null) keep(part === kept ? null : part);
    });
  }
  board.addEventListener("pointerover", (event) => light(partOf(event.target) ?? kept));
  board.addEventListener("pointerleave", () => light(kept));
  for (const chip of chips) {
    chip.addEventListener("focus", () => light(chip.dataset.patch));
    chip.addEventListener("blur", () => light(kept));
  }

  return (key) => {
    if (key === "[") take(inHand - 1);
    else if (key === "]") take(inHand + 1);
    else if (key === "Escape" && kept !== null) keep(null);
    else return false;
    return true;
  };
}

/** Passes free keys to the board that `find` names. */
export function listen(find) {
  document.addEventListener("keydown", (event) => {
    if (!isFree(event) || event.ctrlKey || event.metaKey || event.altKey) return;
    if (find()?.(event.key)) event.preventDefault();
  });
}
