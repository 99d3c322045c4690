// The page of a map-drawing trial: paint what one needs to see.
import { Clock } from "./clock.js";
import { Brush, Size } from "./editor/brush.js";
import { Desk } from "./editor/desk.js";
import { Fill } from "./editor/fill.js";
import { History } from "./editor/history.js";
import * as keys from "./editor/keys.js";
import { Mask } from "./editor/mask.js";
import { Outline } from "./editor/outline.js";
import { Palm } from "./editor/palm.js";
import * as png from "./editor/png.js";
import * as pointer from "./editor/pointer.js";
import { probe } from "./editor/probe.js";
import { Ring } from "./editor/ring.js";
import { Saver } from "./editor/saver.js";
import { Start } from "./editor/start.js";
import { StartPanel } from "./editor/start_panel.js";
import { View } from "./editor/view.js";
import { bitmap, mapBytes } from "./pictures.js";
import { Trial } from "./trial.js";

const ZOOM_PAUSE_MS = 400; // one line of the record for one zoom, not for each turn of the wheel
const trial = new Trial();
const clock = new Clock();
const easel = document.getElementById("easel");
const nothing = document.getElementById("nothing");
const sizeSlider = document.getElementById("size");
const sizeRead = document.getElementById("size-read");
const opacity = document.getElementById("opacity");
const fingers = document.getElementById("fingers");
const hint = document.getElementById("hint");
const tools = [...document.querySelectorAll("button[data-tool]")];
const byAct = (name) => document.querySelector(`[data-act=${name}]`);
const startNode = document.getElementById("start");

/** Everything that comes over the network, or null after saying what is wrong. */
async function load() {
  if (!png.supported) {
    trial.say("bad", trial.words.oldBrowser);
    return null;
  }
  const { urls, canvas } = trial.data;
  try {
    const [picture, map] = await Promise.all([
      bitmap(urls.picture),
      startNode && urls.maps.length ? mapBytes(urls.maps[0], canvas.width, canvas.height) : null,
    ]);
    return { picture, map };
  } catch {
    trial.say("bad", trial.words.noPicture, [[trial.words.reload, () => window.location.reload()]]);
    return null;
  }
}

async function begin() {
  const loaded = await load();
  if (!loaded) return;
  const { width, height } = trial.data.image;
  const mask = new Mask(width, height);
  const history = new History(mask);
  const view = new View(easel, loaded.picture, mask);
  const desk = new Desk(mask, history, view);
  const size = new Size(mask);
  const outline = new Outline(desk, easel.querySelector(".outline"));
  desk.add("brush", new Brush(desk, "brush", size));
  desk.add("erase", new Brush(desk, "erase", size));
  desk.add("outline", outline);
  desk.add("fill", new Fill(desk));
  const ring = new Ring(easel.querySelector(".ring"), desk, size);
  const palm = new Palm();
  const crosshair = new keys.Crosshair(desk, view, ring, size);
  const { canvas } = trial.data;
  const start = loaded.map && new StartPanel(startNode, new Start(desk, loaded.map, canvas.width, canvas.height), clock);
  probe.desk = desk;

  // --- what the controls show -------------------------------------------------------------------------------------

  const toSlider = (value) => (100 * Math.log(value)) / Math.log(size.largest);
  const fromSlider = (value) => Math.exp((value / 100) * Math.log(size.largest));

  function refresh() {
    for (const button of tools) button.setAttribute("aria-pressed", String(button.dataset.tool === desk.tool));
    easel.dataset.tool = desk.tool;
    byAct("undo").disabled = !desk.canUndo;
    byAct("redo").disabled = !desk.canRedo;
    byAct("clear").disabled = mask.empty || desk.locked;
    byAct("show").setAttribute("aria-pressed", String(view.visible));
    sizeSlider.value = toSlider(size.value);
    sizeRead.value = `${size.value} px`;
    sizeSlider.setAttribute("aria-valuetext", `${size.value} px`);
    document.getElementById("fingers-switch").hidden = !palm.used;
    fingers.checked = palm.fingersPaint;
    start?.refresh();
    ring.refresh();
  }

  /** A line over the picture: how the tool in hand works, or why nothing happened. */
  function tell(word) {
    hint.textContent = word ? trial.words[word] : "";
    hint.hidden = !word;
  }

  let zoomed = 0;
  let noted = null;
  view.onchange = () => {
    const read = `${Math.round(100 * view.scale)} %`;
    const output = document.getElementById("zoom-read");
    if (output.value !== read) {
      output.value = read;
      noted ??= read; // how the picture lay at first
      clearTimeout(zoomed);
      zoomed = setTimeout(() => {
        if (noted !== read) clock.note("zoom", Math.round(100 * view.scale));
        noted = read;
      }, ZOOM_PAUSE_MS);
    }
    if (crosshair.shown) crosshair.show();
    else ring.refresh();
    outline.show();
  };

  const saver = new Saver(desk);
  desk.onstep = (what) => {
    saver.changed();
    if (!mask.empty) nothing.checked = false;
    if (what === "undo" || what === "redo") clock.note(what, history.strokes.length);
    else if (!start?.owns(what)) clock.note("stroke", history.strokes.length, what);
    tell(null);
    refresh();
    if (!start?.owns(what)) trial.changed(); // the strip says so itself, after a pause
  };
  desk.onrefuse = tell;
  outline.onchange = () => {
    if (outline.open) tell(null);
    refresh();
  };
  palm.onpen = refresh;

  // --- what the person does ---------------------------------------------------------------------------------------

  const acts = {
    tool(name) {
      if (name !== desk.tool) clock.note("tool", name);
      desk.take(name);
      tell({ outline: "hintOutline", fill: "hintFill" }[name]);
      refresh();
    },
    undo: () => desk.undo(),
    redo: () => desk.redo(),
    clear: () => desk.clear(),
    size(step) {
      if (step > 0) size.grow();
      else size.shrink();
      refresh();
    },
    zoom: (factor) => view.zoom(factor, ...crosshair.spot),
    in: () => view.zoom(1.25),
    out: () => view.zoom(0.8),
    fit: () => view.fit(),
    show() {
      view.visible = !view.visible;
      clock.note("show", view.visible);
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
    size.set(fromSlider(sizeSlider.value));
    refresh();
  });
  opacity.addEventListener("input", () => {
    view.opacity = opacity.value / 100;
    document.getElementById("opacity-read").value = `${opacity.value} %`;
    view.touch();
  });
  fingers.addEventListener("change", () => {
    palm.fingersPaint = fingers.checked;
  });
  nothing.addEventListener("change", () => {
    if (nothing.checked && !mask.empty) {
      desk.clear(); // can be undone
      nothing.checked = true;
    }
    clock.note("nothing", nothing.checked);
    trial.changed();
  });
  pointer.listen(easel, desk, view, ring, palm);
  keys.listen(easel, desk, crosshair, acts);

  // --- what the frame asks of this page ---------------------------------------------------------------------------

  start?.begin(); // earlier work takes its place
  await trial.begin({
    clock,
    collect: () => ({ strokes: history.strokes, nothing: nothing.checked }),
    async restore(payload, drawing) {
      const earlier = drawing ? await png.decode(drawing, width, height) : null;
      desk.hand.drop();
      saver.changed();
      if (earlier) mask.set(earlier);
      else mask.clear();
      history.reset(payload?.strokes ?? []);
      nothing.checked = Boolean(payload?.nothing);
      view.touch();
      refresh();
    },
    drawing: () => saver.file(),
    check() {
      if (desk.tool === "outline" && outline.open) return trial.words.outlineOpen;
      return mask.empty && !nothing.checked ? trial.words.nothingPainted : null;
    },
    lock(on) {
      desk.hand.release();
      desk.locked = on;
      nothing.disabled = on;
      refresh();
    },
  });
  start?.listen(() => trial.changed());
  document.body.classList.remove("waiting");
  view.onchange();
  refresh();
}

begin();
