// On every page: theme switch without a reload, menus that close, a question before a form that asks for one,
// the present link of a long row in sight.

function switchTheme(event) {
  const form = event.currentTarget;
  event.preventDefault();
  const chosen = form.elements.theme.value;
  document.documentElement.dataset.theme = chosen;
  fetch(form.action, { method: "POST", body: new FormData(form), redirect: "manual", credentials: "same-origin" });
  form.elements.theme.value = chosen === "dark" ? "light" : "dark";
  document.dispatchEvent(new CustomEvent("themechange", { detail: chosen }));
}

function closeMenus(except) {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (menu !== except) menu.open = false;
  }
}

function askFirst(event) {
  const form = event.target;
  if (!form.dataset.confirm || form.dataset.confirmed) return;
  event.preventDefault();
  const submitter = event.submitter;
  const dialog = confirmDialog(form.dataset.confirm, submitter?.textContent.trim() || "Continue");
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (dialog.returnValue !== "yes") return;
    form.dataset.confirmed = "yes";
    form.requestSubmit(submitter);
  });
  dialog.showModal();
}

function confirmDialog(question, action) {
  const dialog = document.createElement("dialog");
  dialog.className = "dialog";
  dialog.setAttribute("aria-labelledby", "confirm-question");
  const form = document.createElement("form");
  form.method = "dialog";
  form.className = "dialog-body";
  const text = document.createElement("h2");
  text.id = "confirm-question";
  text.textContent = question;
  const actions = document.createElement("div");
  actions.className = "actions";
  actions.append(dialogButton("Cancel", "no", "btn"), dialogButton(action, "yes", "btn btn-primary"));
  form.append(text, actions);
  dialog.append(form);
  document.body.append(dialog);
  return dialog;
}

function dialogButton(label, value, className) {
  const button = document.createElement("button");
  button.className = className;
  button.value = value;
  button.textContent = label;
  return button;
}

// On a phone the management pages' links scroll sideways: the present one must not be cut off.
for (const link of document.querySelectorAll(".side-nav [aria-current='page']")) {
  const nav = link.parentElement;
  nav.scrollLeft = link.offsetLeft - nav.offsetLeft - (nav.clientWidth - link.offsetWidth) / 2;
}
for (const form of document.querySelectorAll(".theme-form")) form.addEventListener("submit", switchTheme);
document.addEventListener("submit", askFirst);
document.addEventListener("click", (event) => closeMenus(event.target.closest("details.menu")));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") closeMenus(null);
});
