// A lens grade, one key press each. Value: the letter.

import { h } from "../../dom.js";

const GRADES = ["A", "B", "C", "I", "X"];

export const grade = {
  type: "grade",

  mount(task, context) {
    const buttons = GRADES.map((letter) =>
      h(
        "button",
        {
          class: `grade grade-${letter.toLowerCase()}`,
          type: "button",
          "aria-pressed": String(context.previous === letter),
          "aria-label": `${letter}: ${task.labels[letter]}`,
          onclick: () => context.submit(letter),
        },
        h("span", { class: "grade-letter", "aria-hidden": "true" }, letter),
        h("span", { class: "grade-meaning", "aria-hidden": "true" }, task.labels[letter]),
      ),
    );
    return {
      element: h("div", { class: "grades", role: "group", "aria-label": task.question }, buttons),
      keys: GRADES.map((letter) => ({
        keys: [letter.toLowerCase()],
        label: task.labels[letter],
        run: () => context.submit(letter),
      })),
    };
  },

  next(task) {
    return task.next;
  },

  describe(task, value) {
    return value;
  },
};
