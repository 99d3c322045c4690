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

async function request(url, { method, body, signal, timeoutMs = 30000 }) {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), timeoutMs);
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

/**
 * Posts a record once. Resolves to { outcome, body }: saved | conflict | closed | invalid | signed-out | gone |
 * offline (no connection) | trouble (the server answers, but not well); the last two are worth another try.
 */
export async function postAnswer(record) {
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
    });
  } catch {
    return { outcome: "offline", body: null };
  }
  const body = await response.json().catch(() => null);
  if (response.ok && body) return { outcome: "saved", body };
  return { outcome: BY_STATUS[response.status] ?? "trouble", body };
}

/** Saves a draft on the server. Resolves to the time it was saved at, or null. A draft is never worth an alarm. */
export async function putDraft(url, payload, drawing, signal) {
  try {
    const response = await request(url, { method: "PUT", body: form({ payload }, drawing), signal });
    return response.ok ? (await response.json()).saved_at : null;
  } catch {
    return null;
  }
}

const WAITS = [1000, 2000, 4000, 8000, 15000, 30000];

/**
 * Sends a record until the server has said something final. `onWait(outcome)` hears of each failed try; the function
 * that it is given as second argument ends the pause at once.
 */
export async function deliver(record, onWait = () => {}) {
  for (let attempt = 0; ; attempt += 1) {
    const result = await postAnswer(record);
    if (result.outcome !== "offline" && result.outcome !== "trouble") return result;
    await new Promise((resolve) => {
      const timer = setTimeout(wake, WAITS[Math.min(attempt, WAITS.length - 1)]);
      function wake() {
        clearTimeout(timer);
        window.removeEventListener("online", wake);
        resolve();
      }
      window.addEventListener("online", wake);
      onWait(result.outcome, wake);
    });
  }
}
