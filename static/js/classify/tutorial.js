// A few steps before the first stamp; opened once per project, and again on request.

import { byId, fromServer, h } from "../dom.js";
import { recall, remember } from "./settings.js";

export class Tutorial {
  constructor(projectSlug, steps) {
    this.steps = steps;
    this.name = `tutorial:${projectSlug}`;
    this.dialog = byId("tutorial");
    this.at = 0;
    byId("tutorial-back").addEventListener("click", () => this.show(this.at - 1));
    byId("tutorial-next").addEventListener("click", () => this.next());
    byId("tutorial-skip").addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("close", () => remember(this.name, true));
  }

  openOnce() {
    if (this.steps.length > 0 && !recall(this.name, false)) this.open();
  }

  open() {
    if (this.steps.length === 0) return;
    this.show(0);
    this.dialog.showModal();
    byId("tutorial-next").focus();
  }

  next() {
    if (this.at + 1 < this.steps.length) this.show(this.at + 1);
    else this.dialog.close();
  }

  show(i) {
    this.at = i;
    const { title, text, image_url: image } = this.steps[i];
    const isLast = i + 1 === this.steps.length;
    byId("tutorial-title").textContent = title;
    byId("tutorial-body").replaceChildren(
      ...(image ? [h("img", { src: image, alt: "", class: "tutorial-image" })] : []),
      fromServer(text, "prose"),
    );
    byId("tutorial-count").textContent = `${i + 1} of ${this.steps.length}`;
    byId("tutorial-back").hidden = i === 0;
    byId("tutorial-skip").hidden = isLast;
    byId("tutorial-next").textContent = isLast ? "Start" : "Next";
  }
}
