// What every trial does, whatever is asked: restores drafts, saves them, sends the answer once, and says how it went.
//
// A kind of study gives an adapter:
//   restore(payload, drawing)  shows earlier work          collect()   -> payload
//   drawing()                  -> Promise<Blob | null>     check()     -> sentence | null (what is still missing)
//   lock(on)                   stops or allows changes     clock       -> Clock
import * as store from "./store.js";
import { clockTime } from "./locale.js";
import { deliver, newId, putDraft, readJson } from "./net.js";

const SERVER_PAUSE_MS = 1500;

export class Trial {
  #adapter = null;
  #busy = false;
  #leaving = false;
  #serverTimer = 0;
  #serverCall = null;
  #serverSaved = null;
  #changes = 0;
  #kept = Promise.resolve();

  constructor() {
    this.data = readJson("trial");
    this.words = readJson("words");
    this.revision = this.data.revision;
    this.user = document.body.dataset.user;
    this.saved = document.getElementById("saved");
    this.note = document.getElementById("note");
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
    this.#dialogs();
  }

  /** Shows the newest work there is and lets the person begin. */
  async begin(adapter) {
    this.#adapter = adapter;
    const { draft, current } = this.data;
    const local = await store.get(this.data.uuid);
    const mine = local && local.user === this.user ? local : null;
    if (mine?.state === "unsent") {
      await adapter.restore(mine.payload, mine.drawing);
      adapter.clock.start(mine.durationMs, mine.events);
      this.#send(mine);
    } else {
      const fitsLocal = mine && mine.baseRevision === this.revision;
      const fitsServer = draft && draft.revision === this.revision;
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
  }

  /** The person changed something: keep it here at once and on the server soon. */
  changed() {
    if (this.#busy) return;
    this.#changes += 1;
    this.quiet();
    this.#kept = this.#kept.then(() => this.#keep());
    clearTimeout(this.#serverTimer);
    this.#serverTimer = setTimeout(() => this.#keepOnServer(), SERVER_PAUSE_MS);
  }

  #record(extra) {
    return {
      assignment: this.data.uuid,
      user: this.user,
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

  async #keep() {
    const at = this.#changes;
    const drawing = await this.#adapter.drawing();
    if (this.#busy || at !== this.#changes) return;
    await store.put(this.#record({ drawing }));
  }

  async #keepOnServer() {
    if (this.#busy) return;
    const at = this.#changes;
    const drawing = await this.#adapter.drawing();
    const payload = { ...this.#adapter.collect(), base_revision: this.revision };
    this.#serverCall?.abort();
    this.#serverCall = new AbortController();
    const savedAt = await putDraft(this.data.urls.draft, payload, drawing, this.#serverCall.signal);
    if (this.#busy) return;
    if (!savedAt) {
      this.show("unsent", this.words.onDevice);
      return;
    }
    this.#serverSaved = savedAt;
    if (at !== this.#changes) return; // newer work is on its way
    this.#changes = 0;
    await store.put(this.#record({ drawing, dirty: false }));
    this.show("saved", this.words.saved, new Date(savedAt));
  }

  /** One press, one answer: a second press while sending does nothing. */
  async send() {
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
      this.#go(body.next);
    } else if (outcome === "conflict" && body?.current) {
      await this.#conflict(record, body.current);
    } else if (["closed", "gone", "conflict"].includes(outcome)) {
      await store.remove(record.assignment);
      this.#go(this.data.urls.study + (outcome === "conflict" ? "?taken=1" : ""));
    } else if (outcome === "signed-out") {
      this.#leaving = true; // the record on this device is sent after signing in
      this.say("warn", this.words.signedOut, [[this.words.signIn, () => window.location.assign(this.data.urls.login)]]);
    } else {
      await store.put({ ...record, state: "draft", submission: null });
      this.#lock(false);
      this.show("unsent", this.words.notSent);
      const said = body && Object.values(body.errors ?? {}).flat().join(" ");
      this.say("bad", said || this.words.refused);
    }
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
    this.#adapter.lock(on);
  }

  /** The word in the top bar. */
  show(state, word, when = null) {
    this.saved.dataset.state = state;
    const time = when ? clockTime(when) : "";
    this.saved.replaceChildren();
    const text = document.createElement("span");
    if (time) text.className = "word";
    text.textContent = word;
    this.saved.append(text, time ? ` ${time}` : "");
  }

  /** A line above the answers, with up to two things to do about it. */
  say(tone, sentence, acts = []) {
    this.note.className = `note ${tone === "draft" ? "" : tone}`;
    this.note.querySelector("[data-text]").textContent = sentence;
    const place = this.note.querySelector("[data-acts]");
    place.replaceChildren(
      ...acts.map(([label, act]) => {
        const button = document.createElement("button");
        button.type = "button";
        button.className = "button";
        button.textContent = label;
        button.addEventListener("click", act);
        return button;
      }),
    );
    this.note.parentElement.hidden = false;
  }

  quiet() {
    this.note.parentElement.hidden = true;
  }

  #dialogs() {
    const help = document.getElementById("help");
    document.getElementById("help-button").addEventListener("click", () => help.showModal());
    document.addEventListener("keydown", (event) => {
      if (event.key === "?" && !help.open) help.showModal();
    });
    help.addEventListener("click", (event) => {
      if (event.target === help) help.close();
    });
  }
}

/** A drawing as the server writes it into JSON; the page's policy does not let `fetch` read such addresses. */
function fromDataUrl(url) {
  if (!url) return null;
  const text = atob(url.slice(url.indexOf(",") + 1));
  return new Blob([Uint8Array.from(text, (letter) => letter.charCodeAt(0))], { type: "image/png" });
}

/** Whether a key press belongs to the page and not to a control that uses it itself. */
export function isFree(event) {
  if (event.defaultPrevented || event.isComposing || document.querySelector("dialog[open]")) return false;
  return !event.target.closest?.("input[type=text], input[type=search], textarea, select");
}
