// Boxes painted over the stage, in screen pixels, so that lines and handles keep their size at any zoom.

import { s } from "../../dom.js";

const HANDLES = ["nw", "n", "ne", "e", "se", "s", "sw", "w"];
const REACH = matchMedia("(pointer: coarse)").matches ? 22 : 14; // half the side of a handle's touch area
const ROOM = 3.2 * REACH; // a side shorter than this has no middle handle

function rectangle(className) {
  return s("rect", { class: className });
}

function put(rect, x, y, width, height) {
  rect.setAttribute("x", x);
  rect.setAttribute("y", y);
  rect.setAttribute("width", Math.max(0, width));
  rect.setAttribute("height", Math.max(0, height));
}

export class BoxLayer {
  constructor(overlay, viewer, drawing, describe) {
    this.overlay = overlay;
    this.viewer = viewer;
    this.drawing = drawing;
    this.describe = describe;
    this.groups = new Map(); // box id → its <g>
    this.handles = new Map(HANDLES.map((name) => [name, this.newHandle(name)]));
    this.handleGroup = s("g", { class: "box-handles" }, [...this.handles.values()].map(({ group }) => group));
    this.ghost = s("g", { class: "box box-ghost" }, rectangle("box-halo"), rectangle("box-line"));
    this.paint = this.paint.bind(this);
    overlay.replaceChildren();
    viewer.addEventListener("place", this.paint);
    drawing.addEventListener("change", this.paint);
    this.paint();
  }

  remove() {
    this.viewer.removeEventListener("place", this.paint);
    this.drawing.removeEventListener("change", this.paint);
    this.overlay.replaceChildren();
  }

  newHandle(name) {
    const reach = rectangle("box-reach");
    const dot = rectangle("box-handle");
    return { group: s("g", { "data-handle": name, class: `box-handle-${name}` }, reach, dot), reach, dot };
  }

  newGroup(box) {
    const group = s(
      "g",
      { class: "box", tabindex: 0, role: "button", "data-box": box.id },
      rectangle("box-reach"),
      rectangle("box-halo"),
      rectangle("box-line"),
    );
    group.addEventListener("focus", () => this.drawing.select(box.id));
    this.groups.set(box.id, group);
    return group;
  }

  paint() {
    const { boxes, selectedId, selected } = this.drawing;
    const isKnown = new Set(boxes.map((box) => box.id));
    for (const [id, group] of this.groups) {
      if (!isKnown.has(id)) {
        group.remove();
        this.groups.delete(id);
      }
    }
    boxes.forEach((box, i) => this.paintBox(box, i, box.id === selectedId));
    if (selected) this.paintHandles(selected);
    else this.handleGroup.remove();
  }

  paintBox(box, i, isSelected) {
    let group = this.groups.get(box.id);
    if (!group) {
      group = this.newGroup(box);
      this.overlay.append(group);
    }
    group.setAttribute("class", `box box-tool-${box.tool % 6}${isSelected ? " is-selected" : ""}`);
    group.setAttribute("aria-pressed", String(isSelected));
    group.setAttribute("aria-label", this.describe(box, i));
    this.putAll(group, box);
  }

  putAll(group, box) {
    const corner = this.viewer.toScreen(box.x, box.y);
    const { scale } = this.viewer;
    for (const rect of group.children) put(rect, corner.x, corner.y, box.width * scale, box.height * scale);
  }

  paintHandles(box) {
    const { scale } = this.viewer;
    const corner = this.viewer.toScreen(box.x, box.y);
    const [width, height] = [box.width * scale, box.height * scale];
    for (const [name, handle] of this.handles) {
      const isMiddle = name.length === 1;
      const side = name === "n" || name === "s" ? width : height;
      handle.group.classList.toggle("is-away", isMiddle && side < ROOM);
      // On a small box the touch areas move outwards, so that its inside can still be grabbed.
      const push = (isMiddle ? height < ROOM || width < ROOM : Math.min(width, height) < ROOM) ? REACH * 0.6 : 0;
      const sign = (low, high) => (name.includes(low) ? -1 : name.includes(high) ? 1 : 0);
      const x = corner.x + width / 2 + sign("w", "e") * (width / 2 + push);
      const y = corner.y + height / 2 + sign("n", "s") * (height / 2 + push);
      put(handle.reach, x - REACH, y - REACH, 2 * REACH, 2 * REACH);
      put(handle.dot, x - 5, y - 5, 10, 10);
    }
    this.overlay.append(this.handleGroup);
  }

  showGhost(box, tool) {
    this.ghost.setAttribute("class", `box box-ghost box-tool-${tool % 6}`);
    this.putAll(this.ghost, box);
    this.overlay.append(this.ghost);
  }

  hideGhost() {
    this.ghost.remove();
  }

  focus(id) {
    this.groups.get(id)?.focus({ preventScroll: true });
  }
}
