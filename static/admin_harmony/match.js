/* Matched parts light each other on every board of the page, also on those that come while it is open. Keys belong to
   the board in which the focus is, else to the one that was pointed at last, else to the last on the page. */

import { join, listen } from "../js/parts.js";

const presses = new Map();
let pointed = null;

function find() {
  for (const board of presses.keys()) if (!board.isConnected) presses.delete(board);
  for (const board of document.querySelectorAll(".board.shows-matches")) {
    if (!presses.has(board)) presses.set(board, join(board));
  }
}

document.addEventListener("pointerover", (event) => {
  pointed = event.target.closest?.(".board.shows-matches") ?? pointed;
});

listen(() => {
  const focused = document.activeElement?.closest(".board.shows-matches");
  const last = [...presses.keys()].filter((board) => board.isConnected).at(-1);
  return presses.get(focused ?? (pointed?.isConnected ? pointed : last));
});

find();
new MutationObserver(find).observe(document.querySelector(".h-page"), { childList: true, subtree: true });
