// Building blocks. All text from the data goes through textContent or attributes, never through markup.

function el(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function svg(tag, attributes, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "style") for (const [key, text] of Object.entries(value)) node.style.setProperty(key, text);
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) if (child !== null && child !== undefined) node.append(child);
  return node;
}

/** Whether the text had to be changed. */
function setText(node, text) {
  if (node.textContent === text) return false;
  node.textContent = text;
  return true;
}

/** Give a node these children; those that stay are not touched, so the browser need not lay them out again. */
function setChildren(node, wanted) {
  const keep = new Set(wanted);
  for (const child of [...node.childNodes]) if (!keep.has(child)) child.remove();
  let next = node.firstChild;
  for (const child of wanted) {
    if (child === next) next = next.nextSibling;
    else node.insertBefore(child, next);
  }
}

function byId(id) {
  return document.getElementById(id);
}

/** 83.25 -> "1:23.2"; hours only where there are some. */
function clock(seconds, digits = 1) {
  const unit = 10 ** digits;
  const all = Math.max(0, Math.floor(seconds * unit + 1e-6)) / unit;
  const hours = Math.floor(all / 3600);
  const minutes = Math.floor(all / 60) % 60;
  const rest = (all % 60).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  return (hours ? `${hours}:${String(minutes).padStart(2, "0")}` : `${minutes}`) + `:${rest}`;
}

function percent(fraction, digits = 1) {
  return Number.isFinite(fraction) ? `${(100 * fraction).toFixed(digits)} %` : "–";
}

/** A number for people: 4 significant digits, no long zeros. */
function short(value) {
  if (!Number.isFinite(value)) return "–";
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return value.toLocaleString("en");
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}

/** Hue of a class: steps of the golden angle keep neighbours apart. Classes are always named as well. */
function hue(label) {
  return String((label * 137.508 + 210) % 360);
}
