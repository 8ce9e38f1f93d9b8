// Releases that are still being written: progress, then the page with their files. Without this script a reload does.
import { getJson } from "../http.js";

const SHORTEST_WAIT = 1000;
const LONGEST_WAIT = 15000;
const number = new Intl.NumberFormat("en");

async function watch(panel) {
  const state = panel.dataset.state;
  for (let wait = SHORTEST_WAIT; ; wait = Math.min(wait * 1.3, LONGEST_WAIT)) {
    await new Promise((resolve) => setTimeout(resolve, wait));
    let release;
    try {
      release = await getJson(panel.dataset.release);
    } catch {
      continue; // the server is away for a moment
    }
    panel.querySelector('[data-field="n_written"]').textContent = number.format(release.n_written);
    const isBusy = release.state === "pending" || release.state === "running";
    if (!isBusy) {
      location.reload();
      return;
    }
    if (release.state !== state) {
      panel.querySelector('[data-field="state"]').textContent = release.state === "running" ? "Running" : "Waiting";
    }
  }
}

document.querySelectorAll("[data-release]").forEach(watch);
