// Classic script in the head, so that the chosen appearance is there before the first paint. It also says so when the
// page cannot work here; therefore nothing in it is younger than ES2015.
(function () {
  var KEY = "harmony-theme";
  var root = document.documentElement;

  function wear(choice) {
    delete root.dataset.theme;
    delete root.dataset.contrast;
    if (choice === "light" || choice === "dark") root.dataset.theme = choice;
    if (choice === "contrast") root.dataset.contrast = "more";
  }

  var chosen = "system";
  try {
    chosen = localStorage.getItem(KEY) || "system";
  } catch (refused) {
    // Storage may be refused; the page then follows the system.
  }
  wear(chosen);

  function mark() {
    var buttons = document.querySelectorAll("[data-appearance]");
    for (var i = 0; i < buttons.length; i += 1) {
      buttons[i].setAttribute("aria-pressed", String(buttons[i].dataset.appearance === chosen));
    }
  }

  document.addEventListener("click", function (event) {
    var button = event.target.closest ? event.target.closest("[data-appearance]") : null;
    if (!button) return;
    chosen = button.dataset.appearance;
    wear(chosen);
    mark();
    try {
      localStorage.setItem(KEY, chosen);
    } catch (refused) {
      // Kept for this page only.
    }
    document.dispatchEvent(new CustomEvent("themechange"));
  });

  // Another tab may have chosen since this page was made.
  window.addEventListener("storage", function (event) {
    if (event.key !== KEY) return;
    chosen = event.newValue || "system";
    wear(chosen);
    mark();
  });

  function tell(which) {
    var line = document.querySelector("[data-" + which + "]");
    if (line) line.hidden = false;
  }

  function fit() {
    return (
      "noModule" in HTMLScriptElement.prototype &&
      "showModal" in (window.HTMLDialogElement || Function).prototype &&
      "createImageBitmap" in window &&
      "popover" in HTMLElement.prototype &&
      window.CSS && CSS.supports("color", "light-dark(red, red)")
    );
  }

  var broken = false;
  window.addEventListener(
    "error",
    function (event) {
      var tag = event.target && event.target.tagName;
      if (tag !== "SCRIPT" && tag !== "LINK") return;
      broken = true;
      tell("broken");
    },
    true
  );

  document.addEventListener("DOMContentLoaded", function () {
    mark();
    if (!fit()) tell("unfit");
    if (broken) tell("broken");
  });
})();
