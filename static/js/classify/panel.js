// The question beside the stamp: the trail of answers so far, the question, its answers, its help.

import { byId, fromServer, h } from "../dom.js";
import { recall, remember } from "./settings.js";
import { taskType } from "./tasks/registry.js";

export class Panel {
  /** context: {viewer, overlay, announce, keys, onAnswer(value), onReturn(i)} */
  constructor(context) {
    this.context = context;
    this.trail = byId("trail");
    this.question = byId("question");
    this.answers = byId("answers");
    this.help = byId("help");
    this.helpBody = byId("help-body");
    this.back = byId("back");
    this.skip = byId("skip");
    this.mounted = null;
    this.releaseKeys = () => {};
    this.help.open = recall("help-open", matchMedia("(min-width: 60rem)").matches);
    this.help.addEventListener("toggle", () => remember("help-open", this.help.open));
    this.back.addEventListener("click", () => this.goBack());
    this.skip.addEventListener("click", () => context.onAnswer(null));
  }

  /** Ask the path's present task about the frame on the stage. */
  ask(path, frame) {
    this.close();
    const { task } = path;
    this.path = path;
    this.showTrail(path);
    this.question.textContent = task.question;
    this.back.hidden = path.steps.length === 0;
    this.skip.hidden = task.required;
    this.showHelp(task);
    this.mounted = taskType(task).mount(task, {
      ...this.context,
      frame,
      previous: path.earlier.get(task.key) ?? undefined,
      submit: (value) => this.context.onAnswer(value),
    });
    this.answers.replaceChildren(this.mounted.element);
    this.releaseKeys = this.context.keys.add("Answer", [
      ...this.mounted.keys,
      { keys: ["Backspace"], label: path.steps.length > 0 ? "Previous question" : "", run: () => this.goBack() },
    ]);
    this.takeFocus();
  }

  /** Readers and keyboards land on the new question; nothing scrolls. */
  takeFocus() {
    if (this.mounted.focus) this.mounted.focus();
    else this.question.focus({ preventScroll: true });
  }

  close() {
    this.releaseKeys();
    this.releaseKeys = () => {};
    this.mounted?.unmount?.();
    this.mounted = null;
    this.answers.replaceChildren();
  }

  goBack() {
    if (!this.path || this.path.steps.length === 0) return false;
    this.context.onReturn(this.path.steps.length - 1);
    return true;
  }

  showTrail(path) {
    this.trail.hidden = path.steps.length === 0;
    this.trail.replaceChildren(
      ...path.steps.map(({ task, value }, i) => {
        const words = value === null ? "Skipped" : taskType(task).describe(task, value);
        const button = h("button", { type: "button", title: task.question, onclick: () => this.context.onReturn(i) });
        button.append(h("span", { class: "visually-hidden" }, `Change the answer to “${task.question}”: `), words);
        return h("li", {}, button);
      }),
    );
  }

  showHelp(task) {
    const hasHelp = task.help !== "" || task.examples.length > 0;
    this.help.hidden = !hasHelp;
    this.helpBody.replaceChildren();
    if (!hasHelp) return;
    if (task.help) this.helpBody.append(fromServer(task.help, "prose"));
    if (task.examples.length > 0) this.helpBody.append(h("ul", { class: "examples" }, task.examples.map(example)));
  }

  toggleHelp() {
    if (this.help.hidden) return false;
    this.help.open = !this.help.open;
    return true;
  }
}

function example({ url, caption }) {
  return h(
    "li",
    {},
    h(
      "figure",
      {},
      h("img", { src: url, alt: caption ? "" : "Example", loading: "lazy", width: 128, height: 128 }),
      caption ? h("figcaption", {}, caption) : null,
    ),
  );
}
