// The editor by keyboard alone: letters for tools, arrows for the crosshair, Space held to paint.
import { isFree } from "../trial.js";

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** `acts`: { tool(name), undo, redo, size(step), zoom(factor), fit, show, bare(on), send } */
export function listen(easel, brush, view, ring, size, acts) {
  const at = [size.width / 2, size.height / 2];

  function cross() {
    view.reveal(...at);
    ring.move(view.x + at[0] * view.scale, view.y + at[1] * view.scale, true);
  }

  easel.addEventListener("focus", () => {
    if (easel.matches(":focus-visible")) cross();
  });
  easel.addEventListener("blur", () => {
    brush.end();
    ring.hide();
  });

  easel.addEventListener("keydown", (event) => {
    if (!isFree(event) || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in ARROWS) {
      const step = event.shiftKey ? 1 : Math.max(1, Math.round(brush.size / 3));
      const [dx, dy] = ARROWS[event.key];
      at[0] = Math.min(size.width - 0.5, Math.max(0.5, at[0] + dx * step));
      at[1] = Math.min(size.height - 0.5, Math.max(0.5, at[1] + dy * step));
      cross();
      brush.move(...at);
      event.preventDefault();
    } else if (event.key === " ") {
      event.preventDefault();
      if (event.repeat) return;
      cross();
      brush.begin(...at);
    }
  });
  easel.addEventListener("keyup", (event) => {
    if (event.key === " ") brush.end();
  });

  document.addEventListener("keydown", (event) => {
    if (!isFree(event)) return;
    const key = event.key.toLowerCase();
    if (event.ctrlKey || event.metaKey) {
      if (key === "z") event.shiftKey ? acts.redo() : acts.undo();
      else if (key === "y") acts.redo();
      else return;
      event.preventDefault();
      return;
    }
    if (event.altKey) return;
    if (key === "b") acts.tool("brush");
    else if (key === "e") acts.tool("erase");
    else if (key === "[") acts.size(-1);
    else if (key === "]") acts.size(1);
    else if (key === "z") acts.undo();
    else if (key === "x") acts.redo();
    else if (key === "+" || key === "=") acts.zoom(1.25);
    else if (key === "-") acts.zoom(0.8);
    else if (key === "0") acts.fit();
    else if (key === "h" && !event.repeat) acts.show();
    else if (key === "o") acts.bare(true);
    else if (key === "enter" && !event.target.closest("button, a, summary")) acts.send();
    else return;
    event.preventDefault();
  });
  document.addEventListener("keyup", (event) => {
    if (event.key.toLowerCase() === "o") acts.bare(false);
  });
  window.addEventListener("blur", () => acts.bare(false));
}
