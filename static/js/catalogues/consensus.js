// While models are being fitted: looks now and then whether the page says so still, and loads it when it does not.
const BUSY = "[data-consensus=busy]";
const SHORTEST_WAIT = 2000;
const LONGEST_WAIT = 20000;

async function isBusy() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok) throw new Error(`${answer.status}`);
  return new DOMParser().parseFromString(await answer.text(), "text/html").querySelector(BUSY) !== null;
}

for (let wait = SHORTEST_WAIT; document.querySelector(BUSY); wait = Math.min(wait * 1.4, LONGEST_WAIT)) {
  await new Promise((resolve) => setTimeout(resolve, wait));
  try {
    if (await isBusy()) continue;
  } catch {
    continue; // the server is away for a moment
  }
  location.reload();
  break;
}
