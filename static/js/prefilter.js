// The page of a prefilter batch, kept up to date while the batch runs. Without this script a reload shows the same.
import { getJson } from "./http.js";

const SHORTEST_WAIT = 1000;
const LONGEST_WAIT = 15000;
const PATIENCE = 20000; // as in ml_worker/models.py
const OVERLOOKED = "No worker has taken a shard yet. Is one running? The batch starts by itself as soon as one is.";
const LABELS = { pending: "Waiting", running: "Running", done: "Done", failed: "Failed", cancelled: "Cancelled" };
const BADGES = { running: "badge-info", done: "badge-ok", failed: "badge-bad", cancelled: "badge-warn" };

const bar = document.getElementById("batch-progress");
const number = new Intl.NumberFormat("en");
let shown = "";

function setText(root, field, text) {
  const element = root.querySelector(`[data-field="${field}"]`);
  if (element && element.textContent !== text) element.textContent = text;
}

function badge(state) {
  const element = document.createElement("span");
  element.className = `badge ${BADGES[state] ?? ""}`.trim();
  element.dataset.state = state;
  element.textContent = LABELS[state] ?? state;
  return element;
}

function showShard(shard) {
  const row = document.querySelector(`[data-shard="${shard.index}"]`);
  if (!row) return;
  const cell = row.querySelector('[data-field="state"]');
  if (cell.firstElementChild?.dataset.state !== shard.state) cell.replaceChildren(badge(shard.state));
  setText(row, "n_scored", number.format(shard.n_scored));
  setText(row, "n_unreadable", number.format(shard.n_unreadable));
  setText(row, "attempts", String(shard.attempts));
  setText(row, "error", shard.error);
}

function showHistogram(counts) {
  const image = document.querySelector('[data-field="histogram"]');
  const now = counts.join();
  if (shown === now) return;
  shown = now;
  const url = new URL(image.src);
  url.searchParams.set("n", String(counts.reduce((sum, count) => sum + count, 0)));
  image.src = url.href;
}

function show(batch) {
  const waiting = document.querySelector("#batch-waiting p");
  if (waiting && batch.state !== "pending") waiting.parentElement.remove();
  else if (waiting && performance.now() > PATIENCE) waiting.textContent = OVERLOOKED;
  const stats = document.getElementById("batch-stats");
  setText(stats, "state", LABELS[batch.state] ?? batch.state);
  setText(stats, "n_done", number.format(batch.progress.n_done));
  setText(stats, "n_unreadable", number.format(batch.progress.n_unreadable));
  bar.querySelector("progress").value = batch.progress.n_scored;
  setText(bar, "n_scored", number.format(batch.progress.n_scored));
  batch.shards.forEach(showShard);
  showHistogram(batch.histogram);
}

/** Ask, show, ask again: every second while something moves, more and more rarely when nothing does or no answer comes. */
async function watch(wait, before) {
  try {
    const batch = await getJson(bar.dataset.url);
    if (batch.finished_at) {
      location.reload();
      return;
    }
    show(batch);
    const now = JSON.stringify([batch.state, batch.progress, batch.cancel_requested_at]);
    again(now === before ? Math.min(wait * 1.5, LONGEST_WAIT) : SHORTEST_WAIT, now);
  } catch (error) {
    if (error.status === 401 || error.status === 403 || error.status === 404) return;
    again(Math.max(Math.min(wait * 2, LONGEST_WAIT), (error.retryAfter ?? 0) * 1000), before);
  }
}

function again(wait, before) {
  setTimeout(() => watch(wait, before), wait);
}

if (bar && bar.dataset.finished === "false") again(SHORTEST_WAIT, "");
