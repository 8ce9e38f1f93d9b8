// The classify page: reads what the server put into it and connects the parts.

import { byId } from "../dom.js";
import { Gestures } from "./gestures.js";
import { Keys } from "./keys.js";
import * as notices from "./notices.js";
import { Outbox, whoHeader } from "./outbox.js";
import { Panel } from "./panel.js";
import { SubjectQueue } from "./queue.js";
import { Session } from "./session.js";
import { openStore } from "./store.js";
import { Toolbar } from "./toolbar.js";
import { Tutorial } from "./tutorial.js";
import { Viewer } from "./viewer.js";

const bootstrap = JSON.parse(byId("bootstrap").textContent);

function watchOutbox(outbox) {
  const onForget = () => outbox.forgetRefused();
  outbox.addEventListener("change", ({ detail }) =>
    notices.showOutbox(detail, { urls: bootstrap.urls, onForget }),
  );
}

function offerNewQuestions(version) {
  byId("new-version").hidden = version === bootstrap.workflow.version;
}

function openKeySheet(keys) {
  byId("keys-body").replaceChildren(...keys.sheet());
  byId("single-keys").checked = keys.areSingleKeysOn;
  byId("keys-dialog").showModal();
}

function addPageKeys(keys, { tutorial, session, toolbar }) {
  keys.add("Page", [
    { keys: ["?"], label: "This sheet", run: () => openKeySheet(keys) },
    { keys: ["h"], label: "Help with the question", run: () => session.panel.toggleHelp() },
    { keys: ["t"], label: "Tutorial", run: () => tutorial.open() },
    { keys: ["m"], label: "About this stamp", run: () => toggle(byId("metadata")) },
  ]);
  keys.add("Stamp", toolbar.keys());
}

function toggle(details) {
  details.open = !details.open;
}

function connectButtons(keys, tutorial) {
  byId("open-keys").addEventListener("click", () => openKeySheet(keys));
  byId("open-tutorial").addEventListener("click", () => tutorial.open());
  byId("open-tutorial").hidden = tutorial.steps.length === 0;
  byId("single-keys").addEventListener("change", (event) => keys.useSingleKeys(event.target.checked));
  byId("feedback-close").addEventListener("click", notices.hideFeedback);
  byId("reload").addEventListener("click", () => window.location.reload());
}

async function start() {
  const viewer = new Viewer(byId("stage"), byId("world"));
  new Gestures(viewer);
  const keys = new Keys();
  const outbox = new Outbox(await openStore(), bootstrap.who);
  let session = null;
  const onFrame = (i) => session.showFrame(i).catch(() => notices.announce("This picture could not be loaded."));
  const toolbar = new Toolbar(viewer, { onFrame, announce: notices.announce });
  const queue = new SubjectQueue(bootstrap.urls.next, {
    headers: whoHeader(bootstrap.who),
    frameIndex: () => toolbar.frameIndex,
    onVersion: offerNewQuestions,
  });
  session = new Session({ bootstrap, queue, outbox, viewer, toolbar });
  session.panel = new Panel({
    viewer,
    overlay: byId("overlay"),
    keys,
    announce: notices.announce,
    onAnswer: (value) => session.answer(value),
    onReturn: (i) => session.returnTo(i),
  });
  const tutorial = new Tutorial(bootstrap.project.slug, bootstrap.tutorial);
  watchOutbox(outbox);
  connectButtons(keys, tutorial);
  addPageKeys(keys, { tutorial, session, toolbar });
  session.showCount();
  await session.advance();
  await outbox.report(); // also of what is kept here for somebody else, or was refused
  outbox.sendSoon();
  tutorial.openOnce();
}

start().catch((error) => notices.announceProblem(`Classifying is not possible in this browser: ${error.message}`));
