/* Small habits of every researchers' page: choices that submit their form, sortable tables, a question before a
   step that cannot be taken back, plain file fields. */

for (const control of document.querySelectorAll("[data-submit-on-change]")) {
  control.addEventListener("change", () => control.form.requestSubmit());
}

// The admin theme writes a chosen file's name into a text field beside it, which our plain file fields do not have, and
// breaks off where there is none. Nobody else listens to these fields themselves.
document.addEventListener(
  "change",
  (event) => {
    if (event.target.matches("input[type=file][data-plain]")) event.stopPropagation();
  },
  true,
);

document.addEventListener("submit", (event) => {
  const question = event.submitter?.dataset.confirm ?? event.target.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (head.querySelector(".h-sr")) return; // a column of buttons has no order
    const button = document.createElement("button");
    button.type = "button";
    button.className = "h-sort";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => compare(key(a), key(b)) * (down ? -1 : 1));
      table.tBodies[0].append(...rows);
    });
  });
}

/* Numbers are printed with a true minus sign, and small chances as "< 0.001". */
const number = (text) => Number.parseFloat(text.replace("−", "-").replace(/^< /, ""));

function compare(a, b) {
  const x = number(a);
  const y = number(b);
  if (!Number.isNaN(x) && !Number.isNaN(y)) return x - y;
  return a.localeCompare(b);
}

document.querySelectorAll("table[data-sortable]").forEach(sortable);

/* Copy buttons appear where the browser can copy; the text can be selected anyway. */
if (navigator.clipboard) {
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.querySelector(button.dataset.copy).textContent.trim());
      const word = button.textContent;
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = word; }, 2000);
    });
  }
}

/* An address that names a folded part opens it. */
const named = window.location.hash.length > 1 && document.getElementById(window.location.hash.slice(1));
if (named instanceof HTMLDetailsElement) {
  named.open = true;
  named.scrollIntoView({ block: "start" });
}
