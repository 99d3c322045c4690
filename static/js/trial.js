// What every trial does, whatever is asked: restores drafts, saves them, sends the answer once, and says how it went.
//
// A kind of study gives an adapter:
//   restore(payload, drawing)  shows earlier work          collect()   -> payload
//   drawing()                  -> Promise<Blob | null>     check()     -> sentence | null (what is still missing)
//   lock(on)                   stops or allows changes     clock       -> Clock
import * as store from "./store.js";
import { lookAhead } from "./ahead.js";
import { Frame } from "./frame.js";
import { beaconDraft, deliver, newId, putDraft, readJson, waitBefore } from "./net.js";
import { flush } from "./outbox.js";

export { isFree } from "./shortcuts.js";

const SERVER_PAUSE_MS = 1500;
const LEAST_READING_MS = 400; // the second half of a double click is not a wish to go on

export class Trial {
  #adapter = null;
  #busy = false;
  #leaving = false;
  #serverTimer = 0;
  #serverCall = null;
  #serverSaved = null;
  #failures = 0;
  #changes = 0;
  #beaconed = 0;
  #kept = Promise.resolve();
  #next = null;
  #taughtAt = 0;

  constructor() {
    this.data = readJson("trial");
    this.words = readJson("words");
    this.revision = this.data.revision;
    this.who = store.owner(this.data.participant);
    this.frame = new Frame();
    this.button = document.getElementById("send");
    window.addEventListener("beforeunload", (event) => {
      if (this.#leaving || !(this.#busy || this.#changes)) return;
      event.preventDefault();
      event.returnValue = "";
    });
    // A page out of the browser's own cache may be older than the answer.
    window.addEventListener("pageshow", (event) => {
      if (event.persisted) window.location.reload();
    });
    window.addEventListener("pagehide", () => this.#handOver());
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.#handOver();
    });
    window.addEventListener("online", () => {
      if (this.#changes) this.#keepOnServer();
    });
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || !this.#next || !this.frame.closed || event.target.closest("a")) return;
      event.preventDefault(); // a key that is still held from sending must not skip what is told
      if (!event.repeat) this.send();
    });
  }

  /** Shows the newest work there is and lets the person begin. */
  async begin(adapter) {
    this.#adapter = adapter;
    const { draft, current } = this.data;
    const mine = await store.get(this.data.uuid, this.who);
    if (mine?.state === "unsent") {
      await adapter.restore(mine.payload, mine.drawing);
      adapter.clock.start(mine.durationMs, mine.events);
      this.#send(mine);
    } else {
      const fitsLocal = mine && mine.baseRevision === this.revision;
      const fitsServer = draft && (draft.revision ?? 0) === (this.revision ?? 0);
      // Without comparing clocks: the device's draft is older only if another device saved after it was in step.
      const localFirst = fitsLocal && (!fitsServer || mine.dirty || mine.serverSaved === draft.saved_at);
      if (localFirst) await adapter.restore(mine.payload, mine.drawing);
      else if (fitsServer) await adapter.restore(draft.payload, fromDataUrl(draft.drawing));
      else if (current) await adapter.restore(current.payload, fromDataUrl(current.drawing));
      adapter.clock.start(localFirst ? mine.durationMs : 0, localFirst ? mine.events : []);
      if (localFirst || fitsServer) {
        this.#serverSaved = fitsServer ? draft.saved_at : null;
        this.say("draft", this.words.restored);
      }
      if (current && !localFirst && !fitsServer) this.show("saved", this.words.saved, new Date(current.saved_at));
    }
    if (this.data.taken) this.say("warn", this.words.taken);
    this.button.addEventListener("click", () => this.send());
    document.documentElement.dataset.ready = "yes";
    lookAhead(this.data.urls.ahead);
    store.tidy();
    flush(this.who, () => {}, this.data.uuid); // what other trials could not send; quietly, this one is in hand
  }

  /** The person changed something: keep it here at once and on the server soon. */
  changed() {
    if (this.#busy) return;
    this.#changes += 1;
    this.quiet();
    this.#kept = this.#kept.then(() => this.#keep());
    this.#later(SERVER_PAUSE_MS);
  }

  #later(milliseconds) {
    clearTimeout(this.#serverTimer);
    this.#serverTimer = setTimeout(() => this.#keepOnServer(), milliseconds);
  }

  #record(extra) {
    return {
      assignment: this.data.uuid,
      ...this.who,
      answerUrl: this.data.urls.answer,
      state: "draft",
      payload: this.#adapter.collect(),
      baseRevision: this.revision,
      durationMs: this.#adapter.clock.now,
      events: this.#adapter.clock.events,
      serverSaved: this.#serverSaved,
      dirty: true,
      ...extra,
    };
  }

  #draft() {
    return { ...this.#adapter.collect(), base_revision: this.revision ?? 0 };
  }

  async #keep() {
    const at = this.#changes;
    const drawing = await this.#adapter.drawing();
    if (this.#busy || at !== this.#changes) return;
    await store.put(this.#record({ drawing }));
  }

  async #keepOnServer() {
    if (this.#busy || !this.#changes) return;
    const at = this.#changes;
    const drawing = await this.#adapter.drawing();
    this.#serverCall?.abort();
    this.#serverCall = new AbortController();
    const { savedAt, again } = await putDraft(this.data.urls.draft, this.#draft(), drawing, this.#serverCall.signal);
    if (this.#busy) return;
    if (!savedAt) {
      this.show("unsent", this.words.onDevice);
      if (again && at === this.#changes) this.#later(SERVER_PAUSE_MS + waitBefore((this.#failures += 1)));
      return;
    }
    this.#failures = 0;
    this.#serverSaved = savedAt;
    if (at !== this.#changes) return; // newer work is on its way
    this.#changes = 0;
    await store.put(this.#record({ drawing, dirty: false }));
    this.show("saved", this.words.saved, new Date(savedAt));
  }

  /** The page goes to the background or away: what the server does not have yet is handed to the browser. */
  #handOver() {
    if (!this.#adapter || this.#busy || !this.#changes || this.#beaconed === this.#changes) return;
    if (beaconDraft(this.data.urls.draft, this.#draft())) this.#beaconed = this.#changes;
  }

  /** One press, one answer: a second press while sending does nothing. */
  async send() {
    if (this.#next) {
      if (performance.now() - this.#taughtAt > LEAST_READING_MS) this.#go(this.#next);
      return;
    }
    if (this.#busy) return;
    const missing = this.#adapter.check();
    if (missing) {
      this.say("warn", missing);
      return;
    }
    this.#lock(true);
    const drawing = await this.#adapter.drawing();
    this.#adapter.clock.note("send");
    await this.#send(this.#record({ drawing, state: "unsent", submission: newId() }));
  }

  async #send(record) {
    this.#lock(true);
    this.quiet();
    clearTimeout(this.#serverTimer);
    this.#serverCall?.abort();
    await this.#kept;
    await store.put(record);
    this.show("unsent", this.words.sending);
    const { outcome, body } = await deliver(record, (why, again) => {
      this.show("unsent", this.words.unsent);
      this.say("warn", why === "offline" ? this.words.offline : this.words.trouble, [[this.words.again, again]]);
    });
    await this.#ended(record, outcome, body);
  }

  async #ended(record, outcome, body) {
    if (outcome === "saved") {
      await store.remove(record.assignment);
      this.#changes = 0;
      this.show("saved", this.words.saved, new Date(body.saved_at));
      if (body.feedback) this.#teach(body.feedback, body.next);
      else this.#go(body.next);
    } else if (outcome === "conflict" && body?.current) {
      await this.#conflict(record, body.current);
    } else if (["closed", "gone", "conflict"].includes(outcome)) {
      await store.remove(record.assignment);
      this.#go(body?.next ?? this.data.urls.study + (outcome === "conflict" ? "?taken=1" : ""));
    } else if (outcome === "signed-out") {
      this.#leaving = true; // the record on this device is sent after signing in
      this.show("unsent", this.words.unsent);
      this.say("warn", this.words.signedOut, [[this.words.signIn, () => window.location.assign(this.data.urls.login)]]);
    } else {
      await store.put({ ...record, state: "draft", submission: null });
      this.#lock(false);
      this.show("unsent", this.words.notSent);
      const said = body && Object.values(body.errors ?? {}).flat().join(" ");
      this.say("bad", said || this.words.refused);
    }
  }

  /** Practice: what was right about it stays on the page, with the answer, until the person goes on. */
  #teach(feedback, next) {
    const tone = { true: "good", false: "warn" }[feedback.right] ?? "plain";
    this.#leaving = true; // the answer is safe
    this.#next = next;
    this.#taughtAt = performance.now();
    document.body.classList.add("taught");
    this.say(tone, feedback.sentence);
    const label = this.button.querySelector("[data-label]") ?? this.button;
    label.textContent = this.words.next;
    this.button.disabled = false;
    this.button.focus();
  }

  /** Answered elsewhere: show that answer, and let the person choose between it and what stood here. */
  async #conflict(record, current) {
    await this.#adapter.restore(current.payload, fromDataUrl(current.drawing));
    await store.remove(record.assignment);
    this.#changes = 0;
    this.revision = current.revision;
    this.show("saved", this.words.saved, new Date(current.saved_at));
    const mine = { ...record, submission: newId(), baseRevision: current.revision };
    this.#leaving = true; // both answers are known to be safe or given up: no warning
    this.say("warn", this.words.conflict, [
      [this.words.useMine, async () => {
        this.#leaving = false;
        await this.#adapter.restore(mine.payload, mine.drawing);
        this.#send(mine);
      }],
      [this.words.goOn, () => this.#go(this.data.urls.study)],
    ]);
  }

  #go(url) {
    this.#leaving = true;
    window.location.assign(url);
  }

  #lock(on) {
    this.#busy = on;
    this.button.disabled = on;
    document.body.classList.toggle("locked", on);
    this.#adapter.clock.hold(on);
    this.#adapter.lock(on);
  }

  /** The word in the top bar. */
  show(state, word, when = null) {
    this.frame.show(state, word, when);
  }

  /** A line above the answers, with up to two things to do about it. */
  say(tone, sentence, acts = []) {
    this.frame.say(tone, sentence, acts);
  }

  quiet() {
    this.frame.quiet();
  }
}

/** A drawing as the server writes it into JSON; the page's policy does not let `fetch` read such addresses. */
function fromDataUrl(url) {
  if (!url) return null;
  const text = atob(url.slice(url.indexOf(",") + 1));
  return new Blob([Uint8Array.from(text, (letter) => letter.charCodeAt(0))], { type: "image/png" });
}
