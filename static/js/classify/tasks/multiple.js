// Any number of answers, none included. Value: the sorted list of answer indices.

import { h } from "../../dom.js";

export const multiple = {
  type: "multiple",

  mount(task, context) {
    const chosen = new Set(context.previous ?? []);
    const toggle = (i) => {
      if (!chosen.delete(i)) chosen.add(i);
      buttons[i].setAttribute("aria-pressed", String(chosen.has(i)));
      done.textContent = chosen.size === 0 ? "None of these" : "Done";
    };
    const buttons = task.answers.map((answer, i) =>
      h(
        "button",
        {
          class: "answer answer-toggle",
          type: "button",
          "aria-pressed": String(chosen.has(i)),
          onclick: () => toggle(i),
        },
        h("span", { class: "answer-label" }, answer.label),
        i < 9 ? h("kbd", { "aria-hidden": "true" }, String(i + 1)) : null,
      ),
    );
    const submit = () => context.submit([...chosen].sort((a, b) => a - b));
    const done = h("button", { class: "btn btn-primary btn-large", type: "button", onclick: submit });
    done.textContent = chosen.size === 0 ? "None of these" : "Done";
    return {
      element: h("div", { class: "answers", role: "group", "aria-label": task.question }, buttons, done),
      keys: [
        ...task.answers.slice(0, 9).map((answer, i) => ({
          keys: [String(i + 1)],
          label: answer.label,
          run: () => toggle(i),
        })),
        { keys: ["Enter"], label: "Done", run: submit },
      ],
    };
  },

  next(task) {
    return task.next;
  },

  describe(task, value) {
    return value.length === 0 ? "None" : value.map((i) => task.answers[i].label).join(", ");
  },
};
