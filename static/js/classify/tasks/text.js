// Free text. Value: a string.

import { h } from "../../dom.js";

const LONGEST = 5000;

export const text = {
  type: "text",

  mount(task, context) {
    const input = h("textarea", {
      class: "input text-answer",
      rows: 5,
      maxlength: LONGEST,
      "aria-label": task.question,
      onkeydown: (event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) submit();
      },
      oninput: () => {
        done.disabled = task.required && input.value.trim() === "";
      },
    });
    input.value = context.previous ?? "";
    const submit = () => {
      if (!done.disabled) context.submit(input.value.trim());
    };
    const done = h("button", { class: "btn btn-primary btn-large", type: "button", onclick: submit }, "Done");
    done.disabled = task.required && input.value.trim() === "";
    return {
      element: h("div", { class: "answers" }, input, done),
      keys: [{ keys: ["Ctrl+Enter"], label: "Done", run: submit }],
      focus: () => input.focus({ preventScroll: true }),
    };
  },

  next(task) {
    return task.next;
  },

  describe(task, value) {
    const start = value.slice(0, 24);
    return value.length > 24 ? `“${start}…”` : `“${start}”`;
  },
};
