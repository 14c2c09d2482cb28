/** Adding, changing and removing a stream. The browser's own dialog: Esc closes, the focus stays in and comes back. */

import { el, say, show } from "./dom.js";
import { request, streamPath } from "./api.js";

const EXAMPLES = "rtsp://192.168.1.20/stream1";

/** Called after each change, to fetch the list again. */
let onChanged = async () => {};

export function whenChanged(listener) {
  onChanged = listener;
}

export function addStream() {
  const form = new StreamForm({ title: "Add a stream", action: "Add", stream: null });
  form.open((fields) => request("POST", "/streams", fields));
}

export function editStream(stream) {
  const form = new StreamForm({ title: `Change ${stream.name}`, action: "Save", stream });
  form.open((fields) => request("PATCH", streamPath(stream.name), fields));
}

export function removeStream(name) {
  const dialog = new Dialog(
    `Remove ${name}?`,
    [el("p", {}, "It is watched no more, and its recording, if there is one, is finished. Alerts and their evidence stay.")],
    { action: "Remove", isDanger: true },
  );
  dialog.open(() => request("DELETE", streamPath(name)));
}

class Dialog {
  constructor(title, content, { action, isDanger = false }) {
    this.error = el("p", { class: "error", role: "alert", hidden: true });
    this.submit = el("button", { class: isDanger ? "danger" : "primary", type: "submit" }, action);
    const cancel = el("button", { type: "button", onclick: () => this.element.close() }, "Cancel");
    this.form = el("form", { novalidate: true }, el("h2", { id: "dialog-title" }, title), content, this.error, el("div", { class: "buttons" }, cancel, this.submit));
    this.element = el("dialog", { class: "dialog", "aria-labelledby": "dialog-title" }, this.form);
    this.element.addEventListener("close", () => this.element.remove());
  }

  /** `send` does what is asked and throws an error whose line is shown. */
  open(send) {
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.try(send);
    });
    document.body.append(this.element);
    this.element.showModal();
  }

  async try(send) {
    this.submit.disabled = true;
    show(this.error, false);
    try {
      const fields = this.fields?.() ?? {};
      const wrong = this.objection?.(fields);
      if (wrong) throw new Error(wrong);
      await send(fields);
      this.element.close();
      await onChanged();
    } catch (error) {
      say(this.error, error.message);
      show(this.error, true);
    } finally {
      this.submit.disabled = false;
    }
  }
}

function field(label, name, attributes, hint) {
  const id = `field-${name}`;
  const told = hint && el("small", { id: `${id}-hint` }, hint);
  return el("div", { class: "field" }, el("label", { for: id }, label), el("input", { id, name, autocomplete: "off", "aria-describedby": hint && `${id}-hint`, ...attributes }), told);
}

function choice(label, name, options, chosen) {
  const id = `field-${name}`;
  const listed = options.map(([value, word]) => el("option", { value, selected: value === chosen }, word));
  return el("div", { class: "field" }, el("label", { for: id }, label), el("select", { id, name }, listed));
}

class StreamForm extends Dialog {
  constructor({ title, action, stream }) {
    super(title, StreamForm.content(stream), { action });
    this.stream = stream;
  }

  static content(stream) {
    const source = field(
      "Address",
      "source",
      { type: "text", spellcheck: "false", autocapitalize: "off", placeholder: stream ? stream.source : EXAMPLES, required: !stream },
      stream ? "Leave empty to keep the address." : "Of an RTSP camera. Give user and password below, not in the address.",
    );
    const name = !stream && field("Name", "name", { type: "text", maxlength: 40, placeholder: "lobby" }, "Letters, digits, “.”, “-” and “_”. May be left empty.");
    const more = el(
      "details",
      { class: "more" },
      el("summary", {}, "More settings"),
      choice("When the machine is too busy", "priority", [["high", "this stream is thinned out last"], ["normal", "like the others"], ["low", "this stream is thinned out first"]], stream?.priority ?? "normal"),
      choice("RTSP over", "transport", [["tcp", "TCP: nothing is lost"], ["udp", "UDP: less delay"]], stream?.transport ?? "tcp"),
      field("Judge every … sample", "sample_every", { type: "number", min: 1, max: 100, value: stream?.sample_every ?? 1 }, "2 halves this stream’s work."),
    );
    const login = el("div", { class: "pair" }, field("User", "user", { type: "text", autocapitalize: "off" }), field("Password", "password", { type: "password", autocomplete: "new-password" }));
    return [source, name, login, more].filter(Boolean);
  }

  objection(fields) {
    return objection(fields, !this.stream);
  }

  /** What was filled in: what is left empty stays as it is. */
  fields() {
    const filled = [...new FormData(this.form)].map(([name, value]) => [name, String(value).trim()]).filter(([, value]) => value);
    return Object.fromEntries(filled.map(([name, value]) => [name, name === "sample_every" ? Number(value) : value]));
  }
}

/** What is wrong with a form that was filled in, in one line; null when nothing is. `isNew`: whether it adds a stream. */
export function objection(fields, isNew) {
  if (isNew && !fields.source) return `Give the camera’s address, such as ${EXAMPLES}.`;
  if (/^[^/]*:\/\/[^/?#]*@/.test(fields.source ?? "")) return "Take user and password out of the address and give them in their own fields below.";
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}$/.test(fields.name ?? "a")) return "The name may have letters, digits, “.”, “-” and “_”, at most 40, and begins with a letter or a digit.";
  const every = fields.sample_every ?? 1;
  if (!Number.isInteger(every) || every < 1 || every > 100) return "“Judge every … sample” takes a whole number from 1 to 100.";
  return null;
}

/** Asks for user and password until the server is content. `onLogin` is called then. */
export function loginForm(onLogin) {
  const error = el("p", { class: "error", role: "alert", hidden: true });
  const submit = el("button", { class: "primary", type: "submit" }, "Sign in");
  const form = el(
    "form",
    { class: "login" },
    el("h1", {}, "Sign in"),
    el("p", { class: "quiet" }, "Live verdicts, video and evidence are for those who may see them."),
    field("User", "user", { type: "text", autocomplete: "username", autocapitalize: "off", required: true, autofocus: true }),
    field("Password", "password", { type: "password", autocomplete: "current-password", required: true }),
    error,
    submit,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    show(error, false);
    try {
      await request("POST", "/login", Object.fromEntries(new FormData(form)));
      onLogin();
    } catch (failure) {
      say(error, failure.message);
      show(error, true);
      form.elements.password.value = "";
      form.elements.password.focus();
    } finally {
      submit.disabled = false;
    }
  });
  return form;
}

