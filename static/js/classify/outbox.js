// Sending classifications. An entry leaves the store only when the server has it (200, 201), already had one of this
// subject (409), or refused its content (422 and the like: kept aside with the reason). Everything else is tried again.
// What has piled up without connection goes in batches, each entry answered as if it had been sent alone.

import { postJson } from "../http.js";

const FIRST_WAIT = 2_000;
const LONGEST_WAIT = 60_000;
const ORPHANED_AFTER = 15_000; // another tab's entry that nobody has sent by then
const TAB_KEY = "starsieve:tab";
const REFUSED = new Set([400, 404, 405, 413, 415, 422]);
const MOST_AT_ONCE = 20; // the API takes 50; fewer are answered sooner, and stay below its limit of size

export class Outbox extends EventTarget {
  /** `who` is the person that this page's answers are stored under; entries of someone else wait for them. */
  constructor(store, who) {
    super();
    this.store = store;
    this.who = who;
    this.tab = tabName();
    this.wait = FIRST_WAIT;
    this.timer = null;
    this.isSending = false;
    this.trouble = null; // {kind: "offline" | "server" | "sign-in" | "closed", detail}
    this.channel = "BroadcastChannel" in globalThis ? new BroadcastChannel("starsieve-outbox") : null;
    this.channel?.addEventListener("message", () => this.report());
    globalThis.addEventListener("online", () => this.sendSoon());
  }

  /** Resolves as soon as the classification is safe in this browser; sending goes on in the background. */
  async add(url, body) {
    const created = Date.now();
    await this.store.put({ id: body.id, who: this.who, tab: this.tab, url, body, created, refused: null });
    this.sendSoon();
    await this.tellAll();
  }

  sendSoon() {
    clearTimeout(this.timer);
    this.timer = null;
    this.wait = FIRST_WAIT;
    this.drain();
  }

  /** Drop the entries that the server refused, once the volunteer has read why. */
  async forgetRefused() {
    for (const entry of await this.store.all()) {
      if (entry.refused !== null) await this.store.remove(entry.id);
    }
    await this.tellAll();
  }

  isMine(entry) {
    return entry.refused === null && (entry.who === this.who || entry.who === "visitor");
  }

  async sendable() {
    const now = Date.now();
    const entries = (await this.store.all()).filter((entry) => this.isMine(entry));
    return entries.filter((entry) => entry.tab === this.tab || now - entry.created > ORPHANED_AFTER);
  }

  async drain() {
    if (this.isSending) return;
    this.isSending = true;
    try {
      await this.whileAlone(() => this.sendAll());
    } finally {
      this.isSending = false;
    }
    const rest = (await this.store.all()).some((entry) => this.isMine(entry));
    if (rest && this.timer === null) {
      const wait = this.trouble ? this.wait : ORPHANED_AFTER;
      this.timer = setTimeout(() => {
        this.timer = null;
        this.drain();
      }, wait);
    }
  }

  /** One tab sends at a time where the browser has locks; without them the server's check of the id is enough. */
  async whileAlone(work) {
    if (navigator.locks) await navigator.locks.request("starsieve-outbox", work);
    else await work();
  }

  async sendAll() {
    for (let entries = await this.sendable(); entries.length > 0; entries = await this.sendable()) {
      for (const group of groupsOf(entries)) {
        if (!(await (group.length > 1 ? this.sendMany(group) : this.sendOne(group[0])))) return;
      }
    }
  }

  /** Several that waited, in one call. Where that call itself is refused, each one is sent alone. */
  async sendMany(group) {
    try {
      const bodies = { classifications: group.map((entry) => entry.body) };
      const { body } = await postJson(`${group[0].url}/batch`, bodies, { headers: whoHeader(group[0].who) });
      for (const [i, { status, receipt, problem }] of body.results.entries()) {
        if (status === 200 || status === 201) await this.settle(group[i], "sent", { receipt });
        else if (status === 409) await this.settle(group[i], "sent", { receipt: null });
        else await this.refuse(group[i], problem);
      }
      return true;
    } catch (error) {
      if (!REFUSED.has(error.status)) return this.pause(error);
    }
    for (const entry of group) {
      if (!(await this.sendOne(entry))) return false;
    }
    return true;
  }

  /** True when the entry is dealt with, false when sending has to pause. */
  async sendOne(entry) {
    try {
      const { body } = await postJson(entry.url, entry.body, { headers: whoHeader(entry.who) });
      await this.settle(entry, "sent", { receipt: body });
    } catch (error) {
      if (error.status === 409) await this.settle(entry, "sent", { receipt: null });
      else if (REFUSED.has(error.status)) await this.refuse(entry, error);
      else return this.pause(error);
    }
    return true;
  }

  async settle(entry, type, detail) {
    await this.store.remove(entry.id);
    this.trouble = null;
    this.wait = FIRST_WAIT;
    this.dispatchEvent(new CustomEvent(type, { detail: { entry, ...detail } }));
    await this.tellAll();
  }

  async refuse(entry, error) {
    await this.store.put({ ...entry, refused: error.detail });
    this.dispatchEvent(new CustomEvent("refused", { detail: { entry, reason: error.detail } }));
    await this.tellAll();
  }

  async pause(error) {
    const kinds = { 401: "sign-in", 403: "closed" };
    const kind = error.status === undefined ? "offline" : (kinds[error.status] ?? "server");
    this.trouble = { kind, detail: error.detail ?? "" };
    this.wait = error.retryAfter ? error.retryAfter * 1_000 : Math.min(this.wait * 2, LONGEST_WAIT);
    await this.report();
    return false;
  }

  async report() {
    const entries = await this.store.all();
    const pending = entries.filter((entry) => this.isMine(entry)).length;
    const refused = entries.filter((entry) => entry.refused !== null);
    const foreign = entries.length - pending - refused.length;
    const detail = { pending, refused, foreign, trouble: pending > 0 ? this.trouble : null };
    this.dispatchEvent(new CustomEvent("change", { detail }));
  }

  /** The store has changed: this page and the other tabs count anew. */
  async tellAll() {
    this.channel?.postMessage("changed");
    await this.report();
  }
}

/** Entries that may go in one call, oldest first: of one workflow and one person, MOST_AT_ONCE at most. */
function groupsOf(entries) {
  const groups = [];
  for (const entry of entries) {
    const group = groups.at(-1);
    const fits = group && group.length < MOST_AT_ONCE && group[0].url === entry.url && group[0].who === entry.who;
    if (fits) group.push(entry);
    else groups.push([entry]);
  }
  return groups;
}

/** A name for this tab that outlives a reload, so that a tab takes up its own entries at once. */
function tabName() {
  try {
    const name = sessionStorage.getItem(TAB_KEY) ?? newUuid();
    sessionStorage.setItem(TAB_KEY, name);
    return name;
  } catch {
    return newUuid();
  }
}

/** Whom a call is made for: if that sign-in has ended, the server refuses instead of storing work under nobody. */
export function whoHeader(who) {
  return who === "visitor" ? {} : { "X-Starsieve-Volunteer": who };
}

/** A version-4 UUID; crypto.randomUUID exists on https and localhost only. */
export function newUuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
