// Answers that were sent from this device without being acknowledged go out from any page, whichever trial they are of.
import * as store from "./store.js";
import { pause, postAnswer, worthAgain } from "./net.js";

/**
 * Sends what waits, except the answer that the page itself is about. `hear(what, again)` is told "sending", "offline"
 * or "trouble" (with a function that ends the pause), "signed-out", and at last "sent"; it hears nothing if nothing
 * waits. One answer that the server does not take yet holds up no other.
 */
export async function flush(who, hear, except = null) {
  let waiting = (await store.unsent(who)).filter((record) => record.assignment !== except);
  if (!waiting.length) return;
  hear("sending");
  let refused = false;
  for (let attempt = 0; waiting.length; attempt += 1) {
    const left = [];
    let why = "trouble";
    for (const record of waiting) {
      const { outcome } = await postAnswer(record);
      if (outcome === "signed-out") {
        hear(outcome);
        return;
      }
      if (worthAgain(outcome)) {
        left.push(record);
        why = outcome;
      } else if (outcome === "invalid") {
        // Back to a draft: its trial's page says what is missing.
        await store.put({ ...record, state: "draft", submission: null });
        refused = true;
      } else {
        // Kept, or newer work exists, or the trial is over: there is nothing left to send.
        await store.remove(record.assignment);
      }
    }
    waiting = left;
    if (left.length) await pause(attempt, (again) => hear(why, again));
  }
  hear(refused ? "refused" : "sent");
}
