// On every page around the trials: local times, sending what was left unsent, a clean device after signing out.
import * as store from "./store.js";
import { shortDate, shortTime } from "./locale.js";
import { readJson } from "./net.js";
import { flush } from "./outbox.js";

const who = store.owner();
const words = readJson("words") ?? {};

for (const node of document.querySelectorAll("time[data-local]")) {
  const when = new Date(node.dateTime);
  const sameDay = when.toDateString() === new Date().toDateString();
  node.textContent = sameDay ? shortTime(when) : shortDate(when);
}

for (const form of document.querySelectorAll("form[data-logout]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const waiting = await store.unsent(who);
    if (waiting.length && !window.confirm(words.leaveUnsent ?? "")) return;
    await store.purge(who);
    form.submit();
  });
}

const WORD = { "signed-out": "signedOut", sent: "sentLater", refused: "refusedLater" };

/** The line on the page that tells of answers which wait on this device. */
function report(what, again) {
  const line = document.querySelector("[data-outbox]");
  if (!line) return;
  line.querySelector("[data-text]").textContent = words[WORD[what] ?? what] ?? "";
  line.classList.toggle("good", what === "sent");
  line.classList.toggle("warn", what !== "sent");
  const place = line.querySelector("[data-acts]");
  place?.replaceChildren();
  if (again && place) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button";
    button.textContent = words.again ?? "";
    button.addEventListener("click", again);
    place.append(button);
  }
  line.hidden = false;
}

if (who.user || who.participant) {
  await store.tidy();
  await flush(who, report);
}
