// The pictures of the next trials, fetched while the person looks at this one; they wait in the browser's own cache.

const KEPT = "harmony-ahead";
const MOST_KEPT = 40;

/** Addresses that this tab fetched already. */
function fetched() {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT)) ?? [];
  } catch {
    return [];
  }
}

function remember(urls) {
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(urls.slice(-MOST_KEPT)));
  } catch {
    // Then a picture may be asked for twice, and the cache answers.
  }
}

const idle = () =>
  new Promise((resolve) => {
    if (window.requestIdleCallback) requestIdleCallback(() => resolve(), { timeout: 5000 });
    else setTimeout(resolve, 300);
  });

async function answer(url, priority) {
  const response = await fetch(url, { credentials: "same-origin", priority });
  if (!response.ok) throw new Error(`${response.status}`);
  return response;
}

/** Asks `url` for { pictures: [address, …] } and fetches what is new. Nothing here is worth an alarm. */
export async function lookAhead(url) {
  if (!url || navigator.connection?.saveData) return;
  await idle();
  try {
    const { pictures = [] } = await (await answer(url, "low")).json();
    for (const picture of pictures) {
      const before = fetched();
      if (before.includes(picture)) continue;
      await idle();
      await (await answer(picture, "low")).blob();
      remember([...before, picture]);
    }
  } catch {
    // The next page fetches what is missing.
  }
}
