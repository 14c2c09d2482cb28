/** Elements from code. Text always becomes text nodes, so nothing that a camera, a user or a server names is ever markup. */

const SVG = "http://www.w3.org/2000/svg";

/** el("button", {class: "x", onclick: f, "aria-label": "…"}, "text", child, [more]); null and false children are left out. */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else element.setAttribute(key, value);
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Set text only where it changes: a screen reader would tell the same again, and a selection would be lost. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function show(element, isShown) {
  if (element.hidden === isShown) element.hidden = !isShown;
}

const PATHS = {
  check: "M5 12.5l4.5 4.5L19 7.5",
  cross: "M6.5 6.5l11 11M17.5 6.5l-11 11",
  question: "M9 9.2a3 3 0 1 1 4.2 2.8c-.9.4-1.2 1-1.2 2M12 17.5v.1",
  dots: "M6 12h.1M12 12h.1M18 12h.1",
  alert: "M12 4L2.8 20h18.4zM12 10v4.5M12 17.3v.1",
  bell: "M6 16v-5a6 6 0 0 1 12 0v5l1.5 2h-15zM10 20.5h4",
  plus: "M12 5v14M5 12h14",
  pencil: "M4.5 19.5l1-4L16 5l3 3L8.5 18.5zM14 7l3 3",
  bin: "M5 7h14M10 7V4.5h4V7M7 7l1 12.5h8L17 7M10.5 10.5v6M13.5 10.5v6",
  expand: "M9 4.5H4.5V9M15 4.5h4.5V9M19.5 15v4.5H15M4.5 15v4.5H9",
  back: "M14.5 5.5L8 12l6.5 6.5",
  play: "M8 5.5v13l10-6.5z",
  info: "M12 11v6M12 7.3v.1",
  clock: "M12 7v5.2l3.4 2",
};

/** A drawn sign beside its word; screen readers pass it over. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}
