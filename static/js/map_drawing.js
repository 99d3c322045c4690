// The page of a map-drawing trial: paint what one needs to see.
import { Clock } from "./clock.js";
import { Brush } from "./editor/brush.js";
import { History } from "./editor/history.js";
import * as keys from "./editor/keys.js";
import { Mask } from "./editor/mask.js";
import * as png from "./editor/png.js";
import * as pointer from "./editor/pointer.js";
import { View } from "./editor/view.js";
import { bitmap } from "./pictures.js";
import { Trial } from "./trial.js";

const trial = new Trial();
const clock = new Clock();
const easel = document.getElementById("easel");
const nothing = document.getElementById("nothing");
const sizeSlider = document.getElementById("size");
const sizeRead = document.getElementById("size-read");
const tools = [...document.querySelectorAll("[data-tool]")];
const byAct = (name) => document.querySelector(`[data-act=${name}]`);

async function begin() {
  if (!png.supported) {
    trial.say("bad", trial.words.oldBrowser);
    return;
  }
  let picture;
  try {
    picture = await bitmap(trial.data.urls.picture);
  } catch {
    trial.say("bad", trial.words.noPicture, [[trial.words.reload, () => window.location.reload()]]);
    return;
  }
  const { width, height } = trial.data.image;
  const mask = new Mask(width, height);
  const history = new History(mask);
  const view = new View(easel, picture, mask);
  const brush = new Brush(mask, history, view);
  const ring = new pointer.Ring(easel.querySelector(".ring"), brush, view);

  // --- what the controls show -------------------------------------------------------------------------------------

  const toSlider = (size) => (100 * Math.log(size)) / Math.log(brush.largest);
  const fromSlider = (value) => Math.exp((value / 100) * Math.log(brush.largest));

  function refresh() {
    for (const button of tools) button.setAttribute("aria-pressed", String(button.dataset.tool === brush.tool));
    byAct("undo").disabled = !history.canUndo || brush.locked;
    byAct("redo").disabled = !history.canRedo || brush.locked;
    byAct("clear").disabled = mask.empty || brush.locked;
    byAct("show").setAttribute("aria-pressed", String(view.visible));
    sizeSlider.value = toSlider(brush.size);
    sizeRead.value = `${brush.size} px`;
    sizeSlider.setAttribute("aria-valuetext", `${brush.size} px`);
    ring.refresh();
  }

  view.onchange = () => {
    document.getElementById("zoom-read").value = `${Math.round(100 * view.scale)} %`;
    ring.refresh();
  };
  let encoded = null; // the mask as a file, until the next stroke
  const file = () => (encoded ??= png.encode(mask));

  brush.onstroke = () => {
    encoded = null;
    if (!mask.empty) nothing.checked = false;
    clock.note("stroke", history.strokes.length);
    refresh();
    trial.changed();
  };

  // --- what the person does ---------------------------------------------------------------------------------------

  const acts = {
    tool(name) {
      brush.tool = name;
      refresh();
    },
    undo: () => brush.undo(),
    redo: () => brush.redo(),
    clear: () => brush.clear(),
    size(step) {
      if (step > 0) brush.grow();
      else brush.shrink();
      refresh();
    },
    zoom: (factor) => view.zoom(factor),
    in: () => view.zoom(1.25),
    out: () => view.zoom(0.8),
    fit: () => view.fit(),
    show() {
      view.visible = !view.visible;
      view.touch();
      refresh();
    },
    bare(on) {
      if (on === !view.visible) return;
      view.visible = !on;
      view.touch();
      refresh();
    },
    send: () => trial.send(),
  };
  for (const button of tools) button.addEventListener("click", () => acts.tool(button.dataset.tool));
  for (const button of document.querySelectorAll("[data-act]")) {
    button.addEventListener("click", () => acts[button.dataset.act]());
  }
  sizeSlider.addEventListener("input", () => {
    brush.resize(fromSlider(sizeSlider.value));
    refresh();
  });
  const opacity = document.getElementById("opacity");
  opacity.addEventListener("input", () => {
    view.opacity = opacity.value / 100;
    document.getElementById("opacity-read").value = `${opacity.value} %`;
    view.touch();
  });
  nothing.addEventListener("change", () => {
    if (nothing.checked && !mask.empty) {
      brush.clear(); // can be undone
      nothing.checked = true;
    }
    clock.note("nothing", nothing.checked);
    trial.changed();
  });
  pointer.listen(easel, brush, view, ring);
  keys.listen(easel, brush, view, ring, { width, height }, acts);

  // --- what the frame asks of this page ---------------------------------------------------------------------------

  await trial.begin({
    clock,
    collect: () => ({ strokes: history.strokes, nothing: nothing.checked }),
    async restore(payload, drawing) {
      encoded = null;
      if (drawing) mask.set(await png.decode(drawing, width, height));
      else mask.data.fill(0);
      history.reset(payload?.strokes ?? []);
      nothing.checked = Boolean(payload?.nothing);
      view.touch();
      refresh();
    },
    drawing: file,
    check: () => (mask.empty && !nothing.checked ? trial.words.nothingPainted : null),
    lock(on) {
      brush.end();
      brush.locked = on;
      nothing.disabled = on;
      refresh();
    },
  });
  document.body.classList.remove("waiting");
  view.onchange();
  refresh();
}

begin();
