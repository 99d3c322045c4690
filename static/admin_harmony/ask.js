/* A page that asks a classifier something short: it asks without leaving the page, waits for the answer and shows it.
   Without it the same forms are sent and the page is loaded again. Changing the class or the method asks at once. */

const POLL = 350;
const SLOW_POLL = 2000;
const SLOW_AFTER = 20_000;
const HOLD = 3000; // the answer that is there stays so long while the next one is on its way: nothing jumps
const SWAPPED = "data-ask";

let asking = 0;
let swapping = false;

const place = () => document.querySelector(`[${SWAPPED}]`);

async function show(response, number) {
  const text = await response.text();
  if (number !== asking) return; // a newer question is on its way
  const found = new DOMParser().parseFromString(text, "text/html").querySelector(`[${SWAPPED}]`);
  if (!found) {
    window.location.assign(response.url); // signed out, or another page
    return;
  }
  const waits = found.querySelector("[data-waits]");
  if (waits && document.querySelector(".h-layer, .board, [data-answer]")) {
    wait(waits.dataset.waits, number, found);
    return;
  }
  swap(found);
  begin();
}

function swap(found) {
  const focused = document.activeElement?.id;
  const open = [...place().querySelectorAll("details[open][id]")].map((one) => one.id);
  const opacity = document.querySelector("[data-opacity]")?.value;
  swapping = true; // a field that is taken away while someone types in it tells of a change
  place().replaceWith(document.adoptNode(found));
  swapping = false;
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  const slider = document.querySelector("[data-opacity]");
  if (slider && opacity) slider.value = opacity;
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  draw();
}

async function load(address, options = {}, remember = true) {
  asking += 1;
  const number = asking;
  place().querySelector(".h-look-stage, .h-empty")?.setAttribute("data-busy", "");
  try {
    const response = await fetch(address, { credentials: "same-origin", ...options });
    if (number !== asking) return;
    // A refused question comes back as the form with its sentences; it has no page of its own.
    if (remember && response.ok && response.url !== window.location.href) window.history.pushState({ ask: true }, "", response.url);
    await show(response, number);
  } catch {
    if (number === asking) failed();
  }
}

function failed() {
  place().querySelector("[data-busy]")?.removeAttribute("data-busy");
  if (place().querySelector("[data-offline]")) return;
  const line = document.createElement("div");
  line.className = "h-line h-line-amber";
  line.setAttribute("role", "alert");
  line.dataset.offline = "";
  line.textContent = "No connection. Nothing was lost; try again.";
  place().prepend(line);
}

async function wait(address, number, held = null, since = Date.now()) {
  const waited = Date.now() - since;
  await new Promise((resolve) => { setTimeout(resolve, waited > SLOW_AFTER ? SLOW_POLL : POLL); });
  if (number !== asking) return;
  if (held && waited > HOLD) {
    swap(held);
    held = null;
  }
  let open = true;
  try {
    const response = await fetch(address, { credentials: "same-origin" });
    if (response.ok) open = (await response.json()).open;
    else open = false; // signed out, or swept away: the page says so
  } catch { /* no connection: ask again */ }
  if (number !== asking) return;
  if (open) await wait(address, number, held, since);
  else if (place().dataset.ask === "reload") window.location.reload();
  else await load(window.location.href, {}, false);
}

function draw() {
  const slider = document.querySelector("[data-opacity]");
  const stage = document.querySelector("[data-layers]");
  if (!slider || !stage) return;
  stage.style.setProperty("--h-opacity", slider.value / 100);
  slider.setAttribute("aria-valuetext", `${slider.value} %`);
}

function begin() {
  draw();
  // The admin's frame writes a chosen file's name into the nearest text field, which here is the class.
  for (const input of place().querySelectorAll("input[type=file]")) input.hasChangeListener = true;
  const waits = document.querySelector("[data-waits]");
  if (waits) wait(waits.dataset.waits, asking);
  const auto = document.querySelector("form[data-auto]");
  if (auto) send(auto);
}

function send(form, submitter = null) {
  const data = new FormData(form, submitter);
  const slider = document.querySelector("[data-opacity]");
  if (slider) data.set("opacity", slider.value); // the next map is drawn as this one
  load(form.action, { method: "POST", body: data });
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.matches("[data-swap]")) {
    event.preventDefault();
    send(form, event.submitter);
  } else if (form.matches("[data-view]")) {
    event.preventDefault();
    view(form);
  }
});

function view(form) {
  const address = new URL(window.location.href);
  for (const [name, value] of new FormData(form)) address.searchParams.set(name, value);
  load(address.href);
}

document.addEventListener("change", (event) => {
  if (swapping) return;
  if (event.target.matches("[data-go]")) event.target.form.requestSubmit();
  else if (event.target.matches("[data-view] select")) view(event.target.form);
});

document.addEventListener("input", (event) => {
  if (event.target.matches("[data-opacity]")) draw();
});

document.addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() !== "o" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches?.("input:not([type=range]), textarea, select")) return;
  const stage = document.querySelector("[data-layers]");
  if (stage) stage.dataset.bare = "";
});

function cover() {
  const stage = document.querySelector("[data-layers]");
  if (stage) delete stage.dataset.bare;
}

document.addEventListener("keyup", (event) => {
  if (event.key.toLowerCase() === "o") cover();
});
window.addEventListener("blur", cover);
window.addEventListener("popstate", () => load(window.location.href, {}, false));

begin();
