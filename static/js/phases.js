// A button that copies what stands elsewhere on the page: a completion code, a link to come back by.

for (const button of document.querySelectorAll("button[data-copy]")) {
  const source = document.getElementById(button.dataset.copy);
  const label = button.textContent;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const text = source.value ?? source.textContent.trim();
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Without leave to copy, the text is marked, ready for the person's own copy.
      if (source.select) source.select();
      else getSelection().selectAllChildren(source);
      return;
    }
    button.textContent = button.dataset.done;
    setTimeout(() => (button.textContent = label), 2500);
  });
}
