// Matched patches: a number lights the same part on the picture and on the neighbour in hand. Answers are the form's.
import { isFree } from "./shortcuts.js";

const board = document.querySelector(".board");
const drawn = [...board.querySelectorAll(".seen [data-neighbour]")]; // the boxes of each neighbour on the large picture
const neighbours = [...board.querySelectorAll(".neighbour")];
const chips = [...board.querySelectorAll(".chip")];
let inHand = 0;
let kept = null; // the part that a press keeps lit

const partOf = (node) => node.closest?.("[data-patch]")?.dataset.patch ?? null;

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

document.addEventListener("keydown", (event) => {
  if (!isFree(event) || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "[") take(inHand - 1);
  else if (event.key === "]") take(inHand + 1);
  else if (event.key === "Escape" && kept !== null) keep(null);
  else return;
  event.preventDefault();
});
