/* Maps side by side: how strong they lie over the picture, the bare picture while O is held, and images by arrow keys.
   The strength stands in the address and travels to the next image. */

const stage = document.querySelector("[data-layers]");
const slider = document.querySelector("[data-opacity]");

function carry(value) {
  for (const link of document.querySelectorAll("a[data-carry]")) {
    const address = new URL(link.href);
    address.searchParams.set("opacity", value);
    link.href = address.href;
  }
  const here = new URL(window.location.href);
  here.searchParams.set("opacity", value);
  window.history.replaceState(null, "", here);
}

function show(value) {
  stage.style.setProperty("--h-opacity", value / 100);
  slider.setAttribute("aria-valuetext", `${value} %`);
}

if (stage && slider) {
  show(slider.value);
  slider.addEventListener("input", () => show(slider.value));
  slider.addEventListener("change", () => carry(slider.value));
}

const types = (element) => element?.matches?.("input:not([type=checkbox]), select, textarea");

document.addEventListener("keydown", (event) => {
  if (!stage || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key.toLowerCase() === "o" && !event.target.matches?.("input[type=text], textarea, select")) {
    stage.dataset.bare = "";
    return;
  }
  if (types(event.target)) return; // arrows move the slider and the choices there
  const link = { ArrowLeft: "before", ArrowRight: "after" }[event.key];
  document.querySelector(`a[data-go="${link}"]`)?.click();
});

function cover() {
  if (stage) delete stage.dataset.bare;
}

document.addEventListener("keyup", (event) => {
  if (event.key.toLowerCase() === "o") cover();
});
window.addEventListener("blur", cover);
