/* Cells of a picture, painted by mouse, pen or finger and gone through by arrow keys. Each is a box to tick, which works
   without this too. A stroke that begins on a marked cell takes marks away. */

const grid = (node) => node.closest?.("[data-cells]") ?? null;
const boxes = (cells) => [...cells.querySelectorAll("input[name=cell]")];
let stroke = null; // {cells, on, pointer}

function under(event) {
  const found = document.elementFromPoint(event.clientX, event.clientY)?.closest("td")?.querySelector("input[name=cell]");
  return found && grid(found) === stroke.cells ? found : null;
}

function paint(box) {
  if (box && box.checked !== stroke.on) box.checked = stroke.on;
}

/* Between two events the pointer may pass cells: as many points as it takes to meet each of them. */
function along(from, to) {
  const size = stroke.cells.querySelector("td").getBoundingClientRect();
  const steps = Math.ceil(Math.max(Math.abs(to.clientX - from.clientX) / size.width, Math.abs(to.clientY - from.clientY) / size.height) * 2);
  for (let step = 1; step <= Math.max(steps, 1); step += 1) {
    const share = step / Math.max(steps, 1);
    const clientX = from.clientX + (to.clientX - from.clientX) * share;
    const clientY = from.clientY + (to.clientY - from.clientY) * share;
    paint(under({ clientX, clientY }));
  }
}

function ready() {
  for (const cells of document.querySelectorAll("[data-cells]:not([data-ready])")) {
    cells.dataset.ready = "";
    cells.querySelector("[data-clear]").hidden = false;
    boxes(cells).forEach((box, place) => { box.tabIndex = place === 0 ? 0 : -1; });
  }
}

document.addEventListener("pointerdown", (event) => {
  const box = event.target.closest?.("[data-cells] td")?.querySelector("input[name=cell]");
  if (!box || event.button !== 0 || !event.isPrimary) return;
  stroke = { cells: grid(box), on: !box.checked, pointer: event.pointerId, last: event };
  paint(box);
});

document.addEventListener("pointermove", (event) => {
  if (!stroke || event.pointerId !== stroke.pointer) return;
  along(stroke.last, event);
  stroke.last = event;
});

for (const end of ["pointerup", "pointercancel"]) {
  document.addEventListener(end, (event) => {
    if (stroke && event.pointerId === stroke.pointer) stroke = null;
  });
}

document.addEventListener("click", (event) => {
  if (event.target.matches?.("[data-clear]")) {
    for (const box of boxes(grid(event.target))) box.checked = false;
  } else if (event.detail > 0 && event.target.matches?.("[data-cells] input[name=cell]")) {
    event.preventDefault(); // the stroke has set it already
  }
});

document.addEventListener("focusin", (event) => {
  if (!event.target.matches?.("[data-cells] input[name=cell]")) return;
  for (const box of boxes(grid(event.target))) box.tabIndex = box === event.target ? 0 : -1;
});

document.addEventListener("keydown", (event) => {
  if (!event.target.matches?.("[data-cells] input[name=cell]") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Enter") {
    event.preventDefault();
    event.target.form.requestSubmit();
    return;
  }
  const cells = grid(event.target);
  const all = boxes(cells);
  const columns = cells.querySelector("tr").cells.length;
  const place = all.indexOf(event.target);
  const next = {
    ArrowLeft: place % columns > 0 ? place - 1 : place,
    ArrowRight: place % columns < columns - 1 ? place + 1 : place,
    ArrowUp: place - columns >= 0 ? place - columns : place,
    ArrowDown: place + columns < all.length ? place + columns : place,
    Home: place - (place % columns),
    End: place - (place % columns) + columns - 1,
  }[event.key];
  if (next === undefined) return;
  event.preventDefault();
  all[next].focus();
});

ready();
new MutationObserver(ready).observe(document.querySelector(".h-page"), { childList: true, subtree: true });
