// Boxes drawn on the stamp, by pointer or keyboard. Value: a list of {x, y, width, height, tool} in frame pixels;
// an empty list says: looked, found none.

import { h } from "../../dom.js";
import { Drawing } from "../boxes/drawing.js";
import { asMark, central, grown, moved } from "../boxes/geometry.js";
import { BoxLayer } from "../boxes/layer.js";
import { Pen } from "../boxes/pen.js";

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function countOf(n) {
  return n === 1 ? "1 box" : `${n} boxes`;
}

/** The controls and the drawing of one boxes task on one stamp. */
class BoxesTask {
  constructor(task, context) {
    this.task = task;
    this.context = context;
    this.tool = 0;
    this.drawing = new Drawing(context.frame, task.max_marks, context.previous ?? []);
    this.layer = new BoxLayer(context.overlay, context.viewer, this.drawing, (box, i) => this.nameOf(box, i));
    this.pen = new Pen(context.viewer, this.drawing, this.layer, {
      tool: () => this.tool,
      drawn: (box) => this.say(`Box drawn, ${this.sizeOf(box)}.`),
      refused: () => this.sayFull(),
    });
    context.viewer.useTool(this.pen);
    this.build();
    this.drawing.addEventListener("change", () => this.refresh());
    this.refresh();
  }

  build() {
    this.toolButtons = this.task.tools.map((tool, i) =>
      h(
        "button",
        { class: `tool tool-${i % 6}`, type: "button", onclick: () => this.chooseTool(i) },
        h("span", { class: "tool-swatch", "aria-hidden": "true" }),
        tool.label,
        this.task.tools.length > 1 && i < 9 ? h("kbd", { "aria-hidden": "true" }, String(i + 1)) : null,
      ),
    );
    const small = (label, run) => h("button", { class: "btn btn-small", type: "button", onclick: run }, label);
    this.buttons = {
      add: small("Add box", () => this.add()),
      undo: small("Undo", () => this.undo()),
      redo: small("Redo", () => this.redo()),
      remove: small("Delete", () => this.remove()),
      hide: small("Hide", () => this.toggleHidden()),
    };
    this.done = h("button", { class: "btn btn-primary btn-large", type: "button", onclick: () => this.submit() });
    this.element = h(
      "div",
      { class: "answers" },
      h("p", { class: "muted draw-hint" }, "Drag on the stamp to draw a box."),
      h("div", { class: "tools", role: "group", "aria-label": "Tool" }, this.toolButtons),
      h("div", { class: "draw-actions", role: "group", "aria-label": "Boxes" }, Object.values(this.buttons)),
      this.done,
    );
  }

  refresh() {
    const { boxes, selected, past, future, isFull } = this.drawing;
    this.done.textContent = boxes.length === 0 ? "Nothing here" : `Done · ${countOf(boxes.length)}`;
    this.buttons.add.disabled = isFull;
    this.buttons.undo.disabled = past.length === 0;
    this.buttons.redo.disabled = future.length === 0;
    this.buttons.remove.disabled = selected === null;
    this.buttons.hide.disabled = boxes.length === 0;
    this.toolButtons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === this.tool)));
  }

  say(sentence) {
    this.context.announce(sentence);
  }

  sayFull() {
    this.say(`At most ${countOf(this.task.max_marks)} can be drawn here.`);
  }

  sizeOf({ x, y, width, height }) {
    const [w, hi, left, top] = [width, height, x, y].map(Math.round);
    return `${w} by ${hi} pixels, ${left} from the left, ${top} from the top`;
  }

  nameOf(box, i) {
    return `${this.task.tools[box.tool].label} ${i + 1}: ${this.sizeOf(box)}`;
  }

  chooseTool(i) {
    this.tool = i;
    const { selected } = this.drawing;
    if (selected && selected.tool !== i) {
      this.drawing.mark();
      this.drawing.replace(selected.id, { tool: i });
    }
    this.refresh();
    this.say(`Tool ${this.task.tools[i].label}.`);
  }

  add() {
    const added = this.drawing.add({ ...central(this.drawing.frame), tool: this.tool });
    if (!added) return this.sayFull();
    this.layer.focus(added.id);
    return this.say(`Box added at the centre, ${this.sizeOf(added)}. Arrows move it, Shift and arrows resize it.`);
  }

  undo() {
    this.say(this.drawing.undo() ? `Undone. ${countOf(this.drawing.boxes.length)}.` : "Nothing to undo.");
  }

  redo() {
    this.say(this.drawing.redo() ? `Redone. ${countOf(this.drawing.boxes.length)}.` : "Nothing to redo.");
  }

  remove() {
    const { selected } = this.drawing;
    if (!selected) return;
    this.drawing.remove(selected.id);
    if (this.drawing.selected) this.layer.focus(this.drawing.selectedId);
    this.say(`Box deleted. ${countOf(this.drawing.boxes.length)} left.`);
  }

  toggleHidden() {
    const isHidden = this.context.overlay.classList.toggle("is-hidden");
    this.buttons.hide.textContent = isHidden ? "Show" : "Hide";
  }

  /** Arrow keys on the selected box: move, or with Shift resize at the right and bottom. */
  nudge(event) {
    const { drawing } = this;
    const step = Math.max(1, Math.round(drawing.frame.width / 100));
    const [dx, dy] = ARROWS[event.key].map((direction) => direction * step);
    const change = event.shiftKey ? grown : moved;
    drawing.mark();
    drawing.replace(drawing.selectedId, change(drawing.selected, dx, dy, drawing.frame));
    this.say(this.sizeOf(drawing.selected));
  }

  submit() {
    this.context.submit(this.drawing.boxes.map(asMark));
  }

  keys() {
    const hasSelected = () => this.drawing.selected !== null;
    const arrows = Object.keys(ARROWS);
    const tools = this.task.tools.slice(0, 9).map((tool, i) => ({
      keys: [String(i + 1)],
      label: this.task.tools.length > 1 ? tool.label : "",
      run: () => this.chooseTool(i),
    }));
    return [
      { keys: ["Enter"], label: "Done, or nothing here", run: () => this.submit() },
      { keys: ["n"], label: "Add a box at the centre", run: () => this.add() },
      { keys: ["Tab"], label: "Next box", run: () => false },
      { keys: arrows, label: "Move the box", when: hasSelected, run: (event) => this.nudge(event) },
      {
        keys: arrows.map((key) => `Shift+${key}`),
        label: "Resize the box",
        when: hasSelected,
        run: (event) => this.nudge(event),
      },
      { keys: ["Delete", "Backspace"], label: "Delete the box", when: hasSelected, run: () => this.remove() },
      { keys: ["Escape"], label: "Let go of the box", when: hasSelected, run: () => this.drawing.select(null) },
      { keys: ["Ctrl+z"], label: "Undo", run: () => this.undo() },
      { keys: ["Ctrl+Shift+z", "Ctrl+y"], label: "Redo", run: () => this.redo() },
      { keys: ["o"], label: "Hide or show the boxes", run: () => this.toggleHidden() },
      ...tools,
    ];
  }

  unmount() {
    this.layer.remove();
    this.context.overlay.classList.remove("is-hidden");
    this.context.viewer.useTool(null);
  }
}

export const boxes = {
  type: "boxes",

  mount(task, context) {
    const mounted = new BoxesTask(task, context);
    return { element: mounted.element, keys: mounted.keys(), unmount: () => mounted.unmount() };
  },

  next(task) {
    return task.next;
  },

  describe(task, value) {
    return countOf(value.length);
  },
};
