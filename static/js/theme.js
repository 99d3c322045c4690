// Classic script in the head, so that the chosen theme is there before the first paint.
(function () {
  const key = "harmony-theme";
  const root = document.documentElement;
  let stored = null;
  try {
    stored = localStorage.getItem(key);
  } catch {
    // Storage may be refused; the page then follows the system.
  }
  if (stored === "light" || stored === "dark") root.dataset.theme = stored;

  document.addEventListener("click", (event) => {
    const button = event.target.closest ? event.target.closest("[data-theme-toggle]") : null;
    if (!button) return;
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try {
      localStorage.setItem(key, root.dataset.theme);
    } catch {
      // Kept for this page only.
    }
    document.dispatchEvent(new CustomEvent("themechange"));
  });
})();
