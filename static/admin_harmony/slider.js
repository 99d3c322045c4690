/* Before and after in one picture: the range input moves the line between the two. One more moves all of them. */

function place(slide, value) {
  slide.style.setProperty("--place", `${value}%`);
}

const slides = [...document.querySelectorAll("[data-slide]")];
for (const slide of slides) {
  const range = slide.querySelector("input");
  range.addEventListener("input", () => place(slide, range.value));
  place(slide, range.value);
}

document.querySelector("[data-slide-all]")?.addEventListener("input", (event) => {
  for (const slide of slides) {
    slide.querySelector("input").value = event.target.value;
    place(slide, event.target.value);
  }
});
