// The next subjects, fetched and decoded ahead of time, so that a swap costs nothing.

import { getJson } from "../http.js";

const AHEAD = 3;
const MOST_EXCLUDED = 50; // the API's limit

/** A picture that is ready to be painted. */
async function decoded(frame) {
  const image = new Image();
  image.draggable = false;
  image.alt = "";
  image.src = frame.url;
  await image.decode();
  return image;
}

/** A subject with its pictures on the way. `first` settles when the chosen frame can be painted. */
export class QueuedSubject {
  constructor(subject, frameIndex) {
    this.subject = subject;
    this.images = new Map();
    this.load(Math.min(frameIndex, subject.frames.length - 1)).catch(() => {});
  }

  get frames() {
    return this.subject.frames;
  }

  /** The decoded picture of frame i; a failed load is tried again at the next call. */
  load(i) {
    if (!this.images.has(i)) {
      const image = decoded(this.frames[i]);
      image.catch(() => this.images.delete(i));
      this.images.set(i, image);
    }
    return this.images.get(i);
  }

  loadRest() {
    for (let i = 0; i < this.frames.length; i += 1) this.load(i).catch(() => {});
  }
}

export class SubjectQueue {
  /** `frameIndex()` tells which frame to decode first: the one the volunteer is looking at. */
  constructor(url, { headers, frameIndex, onVersion }) {
    this.url = url;
    this.headers = headers;
    this.frameIndex = frameIndex;
    this.onVersion = onVersion;
    this.waiting = [];
    this.known = new Set(); // every subject handed to this page
    this.unsettled = new Set(); // those whose classification the server does not have yet: it may offer them again
    this.fetching = null;
  }

  /**
   * {next: subject}, or {finished: reason}, or {wait: seconds} where others hold what is left. Rejects when the server
   * cannot be reached.
   */
  async take() {
    if (this.waiting.length === 0) {
      const nothing = await this.fill();
      if (this.waiting.length === 0) return nothing ?? { finished: "seen_all" };
    }
    const next = this.waiting.shift();
    this.fill().catch(() => {}); // the next take() asks again and reports
    return { next };
  }

  fill() {
    this.fetching ??= this.fetchMore().finally(() => {
      this.fetching = null;
    });
    return this.fetching;
  }

  /** The server has the subject's classification and will not offer it again. */
  settle(subjectId) {
    this.unsettled.delete(subjectId);
  }

  async fetchMore() {
    if (this.waiting.length >= AHEAD) return null;
    if (this.unsettled.size > MOST_EXCLUDED) throw new Error("Earlier answers must be sent first.");
    const held = [...this.unsettled].join(",");
    const url = `${this.url}?count=${AHEAD - this.waiting.length}${held ? `&exclude=${held}` : ""}`;
    const answer = await getJson(url, { headers: this.headers });
    this.onVersion(answer.workflow_version);
    const fresh = answer.subjects.filter((subject) => !this.known.has(subject.id));
    for (const subject of fresh) this.enqueue(subject);
    if (answer.reason === "all_leased") return { wait: answer.retry_after };
    return answer.finished ? { finished: answer.reason || "seen_all" } : null;
  }

  enqueue(subject) {
    this.known.add(subject.id);
    this.unsettled.add(subject.id);
    this.waiting.push(new QueuedSubject(subject, this.frameIndex()));
  }
}
