// Work that the server has not acknowledged yet, kept on this device: one record an assignment.
//
// A record: { assignment, participant, user, state: "draft" | "unsent", payload, drawing: Blob | null, baseRevision,
// submission, durationMs, events, answerUrl, serverSaved, dirty, at }. `submission` exists from the first press of
// Send, so that a repeat after a reload is the same attempt. `participant` is the person's part in one study as the
// server names it, `user` their login; a guest has no login. `at`: when it was kept, by this device's clock.

const NAME = "harmony";
const STORE = "work";
const MOST_DAYS = 30;
const PATIENCE_MS = 3000; // some browsers never answer when they refuse storage
const memory = new Map(); // used where the browser refuses IndexedDB (some private windows)
let opening = null;

function open() {
  opening ??= new Promise((resolve) => {
    setTimeout(() => resolve(null), PATIENCE_MS);
    let request;
    try {
      request = indexedDB.open(NAME, 1);
    } catch {
      resolve(null);
      return;
    }
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "assignment" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => resolve(null);
    request.onblocked = () => resolve(null);
  });
  return opening;
}

async function run(mode, act) {
  const db = await open();
  if (!db) return undefined;
  return new Promise((resolve, reject) => {
    const transaction = db.transaction(STORE, mode);
    const request = act(transaction.objectStore(STORE));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onerror = () => reject(transaction.error);
    transaction.onabort = () => reject(transaction.error);
  });
}

/** Who sits here: { participant, user }, as the page's own HTML says it. */
export function owner(participant = null) {
  const { user, participant: named } = document.body.dataset;
  return { participant: participant ?? named ?? "", user: user ?? "" };
}

/** A part in a study is known by its own name first; the login is asked where one of the two has no such name. */
function isOf(row, who) {
  if (row.participant && who.participant) return row.participant === who.participant;
  return Boolean(who.user) && row.user === who.user;
}

/** The record of an assignment, if it is this person's. */
export async function get(assignment, who) {
  const row = (await run("readonly", (store) => store.get(assignment)).catch(() => undefined)) ?? memory.get(assignment);
  return row && isOf(row, who) ? row : null;
}

/** Keeps a record. A full disk must not stop the person: the record then lives as long as the page. */
export async function put(record) {
  const row = { ...record, at: Date.now() };
  memory.set(row.assignment, row);
  await run("readwrite", (store) => store.put(row)).catch(() => undefined);
}

export async function remove(assignment) {
  memory.delete(assignment);
  await run("readwrite", (store) => store.delete(assignment)).catch(() => undefined);
}

async function all() {
  return (await run("readonly", (store) => store.getAll()).catch(() => undefined)) ?? [...memory.values()];
}

/** All records of a person that were sent but not acknowledged, of whichever study. */
export async function unsent(who) {
  const rows = await all();
  return rows.filter((row) => row.state === "unsent" && (isOf(row, who) || (who.user && row.user === who.user)));
}

/** After signing out nothing of this person stays here. What others could not send yet is theirs. */
export async function purge(who) {
  for (const row of await all()) {
    const others = row.participant || row.user ? !isOf(row, who) && row.user !== who.user : false;
    if (!others) await remove(row.assignment);
  }
}

/** Work that nobody came back to for a month goes. */
export async function tidy() {
  const oldest = Date.now() - MOST_DAYS * 24 * 60 * 60 * 1000;
  for (const row of await all()) {
    if (row.at === undefined) await put(row); // kept by an earlier version of this page
    else if (row.at < oldest) await remove(row.assignment);
  }
}
