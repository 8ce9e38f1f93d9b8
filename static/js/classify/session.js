// One volunteer at one workflow: stamp after stamp, task after task, each classification into the outbox.

import { byId } from "../dom.js";
import * as notices from "./notices.js";
import { newUuid } from "./outbox.js";
import { Path } from "./path.js";

const OTHERS_ANSWER = "Other volunteers are answering the last ones. A new one may come free any moment.";

export class Session {
  constructor({ bootstrap, queue, outbox, viewer, toolbar }) {
    Object.assign(this, { bootstrap, queue, outbox, viewer, toolbar });
    this.panel = null; // set by the page once the panel can call back
    this.current = null;
    this.path = null;
    this.classified = bootstrap.totals.classified;
    this.stampsSent = new Map(); // classification id → its stamp's picture, for the feedback
    this.isBusy = false;
    this.isWaiting = false; // for a stamp that others hold
    this.skipped = 0; // stamps whose picture could not be loaded
    this.retry = () => {}; // what the button on the stage does
    globalThis.addEventListener("online", () => this.retry());
    outbox.addEventListener("sent", ({ detail }) => this.sent(detail));
    outbox.addEventListener("refused", () => this.count(-1));
  }

  /** Bring the next stamp onto the stage, or `again` the one whose picture could not be loaded. */
  async advance(again = null) {
    const slow = setTimeout(() => this.isWaiting || notices.showOnStage("Loading…"), 150);
    let next = again;
    try {
      if (next === null) {
        const taken = await this.queue.take();
        if (taken.finished) return this.finish(taken.finished);
        if (taken.wait) return this.wait(taken.wait);
        next = taken.next;
      }
      this.current = next;
      await this.showFrame(Math.min(this.toolbar.frameIndex, next.frames.length - 1));
      this.begin(next);
    } catch (error) {
      this.failed(error, next, again !== null);
    } finally {
      clearTimeout(slow);
    }
    return undefined;
  }

  /** Others hold what is left: say so, and ask again when the server says that something may be free. */
  wait(seconds) {
    this.current = null;
    this.panel.close();
    this.viewer.clear();
    notices.showMetadata({});
    if (!this.isWaiting) notices.announce(OTHERS_ANSWER);
    this.isWaiting = true;
    notices.showOnStage(OTHERS_ANSWER);
    setTimeout(() => this.advance(), seconds * 1000);
  }

  begin(next) {
    this.isWaiting = false;
    notices.clearStage();
    this.toolbar.setFrames(next.frames);
    next.loadRest();
    notices.showMetadata(next.subject.metadata);
    this.path = new Path(this.bootstrap.workflow);
    this.startedAt = new Date();
    this.ask();
    notices.announce(`New stamp. ${this.path.task.question}`);
  }

  ask() {
    this.panel.ask(this.path, this.current.frames[0]);
  }

  async showFrame(i) {
    const shown = this.current;
    const image = await shown.load(i);
    if (shown !== this.current) return;
    // Boxes are in pixels of the first frame; a frame of another size is stretched over it.
    this.viewer.show(image, shown.frames[0]);
    this.frameIndex = i;
  }

  /** No connection, a refusal, or a picture that cannot be loaded: say it and offer the way out. */
  failed(error, stamp, isSecondTime) {
    this.isWaiting = false;
    this.panel.close();
    this.viewer.clear();
    if (error.name !== "EncodingError") {
      this.offer(error instanceof TypeError ? "No connection to the server." : error.message, "Try again", null);
    } else if (isSecondTime) {
      this.skipped += 1;
      this.offer("This stamp’s picture could not be loaded.", "Next stamp", null);
    } else {
      this.offer("This stamp’s picture could not be loaded.", "Try again", stamp);
    }
  }

  /** One way out, taken once: by the button, or by itself when the connection is back. */
  offer(sentence, label, stamp) {
    this.retry = () => {
      this.retry = () => {};
      this.advance(stamp);
    };
    notices.showOnStage(sentence, { label, run: () => this.retry() });
  }

  async answer(value) {
    if (this.isBusy || !this.path) return;
    this.path.answer(value);
    if (!this.path.isComplete) {
      this.ask();
      return;
    }
    this.isBusy = true;
    try {
      await this.store();
      await this.advance();
    } catch (error) {
      notices.announceProblem(`This browser could not keep your answer (${error.message}). Please answer again.`);
      this.returnTo(this.path.steps.length - 1);
    } finally {
      this.isBusy = false;
    }
  }

  returnTo(i) {
    if (!this.path) return;
    this.path.returnTo(i);
    this.ask();
  }

  async store() {
    const { workflow, urls } = this.bootstrap;
    const { subject } = this.current;
    const body = {
      id: newUuid(),
      subject: subject.id,
      workflow_version: workflow.version,
      annotations: this.path.annotations(),
      started_at: this.startedAt.toISOString(),
      finished_at: new Date().toISOString(),
      metadata: { client: "web", viewport: [window.innerWidth, window.innerHeight], frame: this.frameIndex },
    };
    this.stampsSent.set(body.id, subject.frames[0].url);
    await this.outbox.add(urls.classifications, body);
    notices.hideFeedback();
    this.path = null;
    this.panel.close();
    this.count(1);
  }

  sent({ entry, receipt }) {
    this.queue.settle(entry.body.subject);
    const picture = this.stampsSent.get(entry.id);
    this.stampsSent.delete(entry.id);
    if (picture && receipt?.feedback?.length > 0) notices.showFeedback(receipt.feedback, picture);
  }

  count(change) {
    this.classified += change;
    this.showCount();
  }

  showCount() {
    byId("classified").textContent = this.classified === 0 ? "" : `${this.classified} by you`;
  }

  finish(reason) {
    this.current = null;
    this.panel.close();
    this.viewer.clear();
    notices.showEnd(this.skipped > 0 ? "skipped" : reason, this.classified);
  }
}
