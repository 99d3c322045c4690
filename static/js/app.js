// On every page of a signed-in person: local times, sending what was left unsent, a clean device after signing out.
import * as store from "./store.js";
import { shortDate, shortTime } from "./locale.js";
import { deliver, readJson } from "./net.js";

const user = document.body.dataset.user ?? "";
const words = readJson("words") ?? {};

for (const node of document.querySelectorAll("time[data-local]")) {
  const when = new Date(node.dateTime);
  const sameDay = when.toDateString() === new Date().toDateString();
  node.textContent = sameDay ? shortTime(when) : shortDate(when);
}

for (const form of document.querySelectorAll("form[data-logout]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const waiting = await store.unsent(user);
    if (waiting.length && !window.confirm(words.leaveUnsent ?? "")) return;
    await store.purge();
    form.submit();
  });
}

/** An answer that was sent from this device without being acknowledged goes out from any page. */
async function flush() {
  const line = document.querySelector("[data-outbox]");
  if (!user || !line) return;
  const waiting = await store.unsent(user);
  if (!waiting.length) return;
  line.hidden = false;
  const text = line.querySelector("[data-text]");
  text.textContent = words.sending ?? "";
  for (const record of waiting) {
    const result = await deliver(record, () => {
      text.textContent = words.offline ?? "";
    });
    if (result.outcome === "signed-out") return;
    // Newer work exists, or the trial is over: there is nothing left to send.
    if (result.outcome !== "invalid") await store.remove(record.assignment);
  }
  text.textContent = words.sentLater ?? "";
}

flush();
