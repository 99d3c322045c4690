// Work that the server has not acknowledged yet, kept on this device: one record an assignment.
//
// A record: { assignment, user, state: "draft" | "unsent", payload, drawing: Blob | null, baseRevision, submission,
// durationMs, events, answerUrl, serverSaved, dirty }. `submission` exists from the first press of Send, so that a
// repeat after a reload is the same attempt.

const NAME = "harmony";
const STORE = "work";
const memory = new Map(); // used where the browser refuses IndexedDB (some private windows)
let opening = null;

function open() {
  opening ??= new Promise((resolve) => {
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

export async function get(assignment) {
  return (await run("readonly", (store) => store.get(assignment)).catch(() => undefined)) ?? memory.get(assignment) ?? null;
}

/** Keeps a record. A full disk must not stop the person: the record then lives as long as the page. */
export async function put(record) {
  memory.set(record.assignment, record);
  await run("readwrite", (store) => store.put(record)).catch(() => undefined);
}

export async function remove(assignment) {
  memory.delete(assignment);
  await run("readwrite", (store) => store.delete(assignment)).catch(() => undefined);
}

/** All records of a person that were sent but not acknowledged. */
export async function unsent(user) {
  const rows = (await run("readonly", (store) => store.getAll()).catch(() => undefined)) ?? [...memory.values()];
  return rows.filter((row) => row.user === user && row.state === "unsent");
}

export async function purge() {
  memory.clear();
  await run("readwrite", (store) => store.clear()).catch(() => undefined);
}
