// Talking to the server: one outcome word for every way in which it can go.

export function readJson(id) {
  const node = document.getElementById(id);
  return node ? JSON.parse(node.textContent) : null;
}

/** The cookie is read at each request: it changes when the person signs in again in another tab. */
export function csrfToken() {
  const cookie = document.cookie.split("; ").find((part) => part.startsWith("csrftoken="));
  if (cookie) return decodeURIComponent(cookie.slice("csrftoken=".length));
  return document.querySelector("input[name=csrfmiddlewaretoken]")?.value ?? "";
}

/** A version 4 UUID. `crypto.randomUUID` is missing on plain http outside localhost. */
export function newId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

const BYTES_A_MS = 20; // a line of 160 kbit/s is slow, not broken

async function request(url, { method, body, bytes = 0, signal }) {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), 30000 + bytes / BYTES_A_MS);
  signal?.addEventListener("abort", () => limit.abort());
  try {
    return await fetch(url, {
      method,
      body,
      signal: limit.signal,
      credentials: "same-origin",
      headers: { "X-CSRFToken": csrfToken(), Accept: "application/json" },
    });
  } finally {
    clearTimeout(timer);
  }
}

function form(fields, drawing) {
  const data = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    if (value === null || value === undefined) continue;
    data.append(name, typeof value === "object" ? JSON.stringify(value) : String(value));
  }
  if (drawing) data.append("drawing", drawing, "drawing.png");
  return data;
}

const BY_STATUS = { 400: "invalid", 403: "signed-out", 404: "gone", 409: "conflict", 410: "closed", 413: "invalid" };

/** Loads this page once more behind the scenes: who is still signed in has a fresh token afterwards. */
async function stillSignedIn() {
  const { user } = document.body.dataset;
  if (!user) return false;
  try {
    const response = await fetch(window.location.href, { credentials: "same-origin", cache: "no-store" });
    return (await response.text()).includes(`data-user="${user}"`);
  } catch {
    return false;
  }
}

/**
 * Posts a record once. Resolves to { outcome, body }: saved | conflict | closed | invalid | signed-out | gone |
 * offline (no connection) | trouble (the server answers, but not well); the last two are worth another try.
 */
export async function postAnswer(record, mayRenew = true) {
  let response;
  try {
    response = await request(record.answerUrl, {
      method: "POST",
      body: form(
        {
          submission: record.submission,
          payload: record.payload,
          base_revision: record.baseRevision,
          duration_ms: record.durationMs,
          events: record.events,
        },
        record.drawing,
      ),
      bytes: record.drawing?.size,
    });
  } catch {
    return { outcome: "offline", body: null };
  }
  if (response.redirected) return { outcome: "signed-out", body: null };
  const body = await response.json().catch(() => null);
  if (response.ok && body) return { outcome: "saved", body };
  const outcome = BY_STATUS[response.status] ?? "trouble";
  // A token that was lost or is of an earlier sign-in looks like being signed out.
  if (outcome === "signed-out" && mayRenew && (await stillSignedIn())) return postAnswer(record, false);
  return { outcome, body };
}

/**
 * Saves a draft on the server. Resolves to { savedAt, again }: the time or null, and whether another try may help.
 * A draft is never worth an alarm.
 */
export async function putDraft(url, payload, drawing, signal) {
  try {
    const response = await request(url, { method: "PUT", body: form({ payload }, drawing), bytes: drawing?.size, signal });
    if (response.ok && !response.redirected) return { savedAt: (await response.json()).saved_at, again: false };
    return { savedAt: null, again: response.status >= 500 };
  } catch {
    return { savedAt: null, again: !signal?.aborted };
  }
}

const MOST_BEACON = 60000; // browsers refuse more than 64 kB in flight

/** Hands a draft to the browser as the page goes; never an answer, never a drawing. Says whether it was taken. */
export function beaconDraft(url, payload) {
  const text = JSON.stringify(payload);
  if (!navigator.sendBeacon || new Blob([text]).size > MOST_BEACON) return false;
  const data = new FormData();
  data.append("csrfmiddlewaretoken", csrfToken());
  data.append("payload", text);
  return navigator.sendBeacon(url, data);
}

export const worthAgain = (outcome) => outcome === "offline" || outcome === "trouble";

const LONGEST_PAUSE = 30000;

/** Milliseconds before try `attempt` + 1: doubling from about a second to 30, each differently, so that a crowd spreads. */
export function waitBefore(attempt) {
  const base = Math.min(1000 * 2 ** Math.min(attempt, 10), LONGEST_PAUSE);
  return base * (0.5 + Math.random() / 2);
}

/** Waits before the next try; ends early when the connection is back or the function given to `tell` is called. */
export function pause(attempt, tell = () => {}) {
  return new Promise((resolve) => {
    const timer = setTimeout(wake, waitBefore(attempt));
    function wake() {
      clearTimeout(timer);
      window.removeEventListener("online", wake);
      resolve();
    }
    window.addEventListener("online", wake);
    tell(wake);
  });
}

/**
 * Sends a record until the server has said something final. `onWait(outcome, again)` hears of each failed try; `again`
 * ends the pause at once.
 */
export async function deliver(record, onWait = () => {}) {
  for (let attempt = 0; ; attempt += 1) {
    const result = await postAnswer(record);
    if (!worthAgain(result.outcome)) return result;
    await pause(attempt, (again) => onWait(result.outcome, again));
  }
}
