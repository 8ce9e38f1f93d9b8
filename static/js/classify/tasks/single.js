// One answer out of several; choosing it goes on at once. Value: the answer's index.

import { h } from "../../dom.js";

export const single = {
  type: "single",

  mount(task, context) {
    const buttons = task.answers.map((answer, i) =>
      h(
        "button",
        {
          class: "answer",
          type: "button",
          "aria-pressed": String(context.previous === i),
          onclick: () => context.submit(i),
        },
        h("span", { class: "answer-label" }, answer.label),
        i < 9 ? h("kbd", { "aria-hidden": "true" }, String(i + 1)) : null,
      ),
    );
    return {
      element: h("div", { class: "answers", role: "group", "aria-label": task.question }, buttons),
      keys: task.answers.slice(0, 9).map((answer, i) => ({
        keys: [String(i + 1)],
        label: answer.label,
        run: () => context.submit(i),
      })),
    };
  },

  next(task, value) {
    return value === null ? task.next : task.answers[value].next;
  },

  describe(task, value) {
    return task.answers[value].label;
  },
};
