// Everything the page says besides the question: feedback, what is waiting to be sent, troubles, the end.

import { byId, h } from "../dom.js";

const ENDINGS = {
  seen_all: ["You have seen everything", "Every stamp here has your answer. Thank you."],
  all_retired: ["This one is complete", "Every stamp has enough answers. Thank you to all who helped."],
  skipped: ["Nothing more for now", "Some pictures could not be loaded. Load this page again to see what is left."],
  empty: ["No stamps yet", "Nothing has been added here so far. Please come back later."],
};

const TROUBLES = {
  offline: "No connection. Your answers are kept here and will be sent.",
  server: "The server does not answer. Your answers are kept here and will be sent.",
};

function count(n, noun) {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}

export function announce(sentence) {
  const region = byId("announcer");
  region.textContent = region.textContent === sentence ? `${sentence} ` : sentence;
}

/** Something went wrong that the volunteer can act on. */
export function announceProblem(sentence) {
  byId("problem").replaceChildren(h("p", {}, sentence));
  byId("problem").hidden = false;
}

/** The line under the question, and the banner when something needs the volunteer. */
export function showOutbox({ pending, refused, foreign, trouble }, { urls, onForget }) {
  const state = byId("pending");
  state.hidden = pending === 0;
  state.textContent = trouble ? `${pending} waiting to be sent` : `Sending ${pending}…`;
  const banner = byId("banner");
  const parts = [];
  if (trouble) parts.push(troubleLine(trouble, pending, urls));
  if (refused.length > 0) parts.push(refusedLine(refused, onForget));
  if (foreign > 0) parts.push(h("p", {}, `${count(foreign, "answer")} of another account kept here until its next sign-in.`));
  banner.replaceChildren(...parts);
  banner.hidden = parts.length === 0;
}

function troubleLine({ kind, detail }, pending, urls) {
  if (kind === "sign-in") {
    const link = h("a", { href: urls.login }, "Sign in again");
    return h("p", {}, `Your sign-in has ended; ${count(pending, "answer")} kept here. `, link, " to send.");
  }
  return h("p", {}, kind === "closed" ? `${detail} ${count(pending, "answer")} kept here.` : TROUBLES[kind]);
}

function refusedLine(refused, onForget) {
  return h(
    "div",
    { class: "banner-refused" },
    h("p", {}, `${count(refused.length, "answer")} could not be stored: ${refused[0].refused}`),
    h("button", { type: "button", class: "btn btn-small", onclick: onForget }, "Dismiss"),
  );
}

/** What the volunteer is told about a stamp whose truth is known, with its picture, as the next one is already there. */
export function showFeedback(feedback, imageUrl) {
  const isRight = feedback.every((one) => one.is_right);
  const box = byId("feedback");
  box.className = `feedback ${isRight ? "is-right" : "is-wrong"}`;
  byId("feedback-image").src = imageUrl;
  byId("feedback-title").textContent = isRight ? "Well spotted" : "Not quite";
  byId("feedback-text").textContent = feedback.map((one) => one.message).filter(Boolean).join(" ");
  box.hidden = false;
  announce(`About the last stamp: ${byId("feedback-title").textContent}. ${byId("feedback-text").textContent}`);
}

export function hideFeedback() {
  byId("feedback").hidden = true;
}

export function showEnd(reason, classified) {
  const [title, sentence] = ENDINGS[reason] ?? ENDINGS.seen_all;
  byId("end-title").textContent = title;
  byId("end-text").textContent = sentence;
  byId("end-count").textContent = classified > 0 ? `${count(classified, "stamp")} classified by you.` : "";
  byId("classifier").hidden = true;
  byId("end").hidden = false;
  byId("end-title").focus();
}

/** In place of the stamp: loading, or a failure with a way out. */
export function showOnStage(sentence, action = null) {
  const cover = byId("stage-cover");
  const button = action ? h("button", { type: "button", class: "btn", onclick: action.run }, action.label) : null;
  cover.replaceChildren(h("p", {}, sentence), ...(button ? [button] : []));
  cover.hidden = false;
  if (action) announce(sentence);
}

export function clearStage() {
  byId("stage-cover").hidden = true;
}

export function showMetadata(metadata) {
  const facts = Object.entries(metadata).filter(([, value]) => value !== null && value !== "");
  byId("metadata").hidden = facts.length === 0;
  byId("metadata-list").replaceChildren(
    ...facts.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, readable(value))]),
  );
}

function readable(value) {
  if (typeof value === "number" && !Number.isInteger(value)) return String(Number(value.toPrecision(7)));
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
