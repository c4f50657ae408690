// A video's corrections as values: every change makes a new document, so undo is keeping the old one.
//
// An item is {kind, label, start, end, score, original, time}: "open" is a detection that nobody judged yet,
// "accepted", "corrected" and "added" are true actions, "rejected" is not. `label` is a number; what came from
// the server, and goes there, has names.

const TRUE_KINDS = ["accepted", "corrected", "added"];

function keyOf(item) {
  return `${item.label}|${item.start}|${item.end}|${item.score}`;
}

/** The detection that an item judges, as a key; an added action judges none. */
function judgedKey(item) {
  if (item.kind === "added") return null;
  return keyOf(item.original ? { ...item.original, score: item.score } : item);
}

function fromWire(wire, numberOf) {
  const segment = (entry) => ({ label: numberOf(entry.label), start: entry.segment[0], end: entry.segment[1] });
  const item = (entry, kind) => ({
    kind,
    ...segment(entry),
    score: entry.score ?? null,
    original: entry.original ? segment(entry.original) : null,
    time: entry.time || "",
  });
  return {
    items: [
      ...(wire.annotations || []).map((entry) => item(entry, entry.source)),
      ...(wire.rejected || []).map((entry) => item(entry, "rejected")),
    ],
    reviewed: wire.reviewed,
  };
}

function toWire(doc, labels) {
  const segment = (item) => ({ label: labels[item.label], segment: [item.start, item.end] });
  const entry = (item) => ({
    ...segment(item),
    ...(item.kind === "rejected" ? {} : { source: item.kind }),
    ...(item.score === null ? {} : { score: item.score }),
    ...(item.time ? { time: item.time } : {}),
    ...(item.original ? { original: segment(item.original) } : {}),
  });
  const byTime = [...doc.items].sort((a, b) => a.start - b.start || a.end - b.end || a.label - b.label);
  return {
    annotations: byTime.filter((item) => item.kind !== "rejected").map(entry),
    rejected: byTime.filter((item) => item.kind === "rejected").map(entry),
    ...(doc.reviewed ? { reviewed: doc.reviewed } : {}),
  };
}

function now() {
  return new Date().toISOString().slice(0, 19) + "Z";
}

/** A document with `old` (null: nothing) replaced by items. */
function replaced(doc, old, ...items) {
  return { ...doc, items: [...doc.items.filter((item) => item !== old), ...items] };
}

/** Each edit gives [document, item to select next]; null where it changes nothing. */
const EDITS = {
  accept(doc, item) {
    if (item.kind === "added") return null;
    if (TRUE_KINDS.includes(item.kind)) return [replaced(doc, item), reopened(item)];
    const made = { ...item, kind: "accepted", time: now() };
    return [replaced(doc, item, made), made];
  },

  reject(doc, item) {
    if (item.kind === "added") return [replaced(doc, item), null];
    if (item.kind === "rejected") return [replaced(doc, item), reopened(item)];
    const key = judgedKey(item);
    const others = doc.items.some((other) => other !== item && judgedKey(other) === key);
    if (others) return [replaced(doc, item), null]; // a piece of a detection that was split
    const made = { ...reopened(item), kind: "rejected", time: now() };
    return [replaced(doc, item, made), made];
  },

  change(doc, item, values) {
    const made = changed(item, values);
    const same = ["label", "start", "end"].every((name) => made[name] === item[name]);
    return same ? null : [replaced(doc, item, made), made];
  },

  split(doc, item, at) {
    if (!(item.start < at && at < item.end)) return null;
    const pieces = [changed(item, { end: at }), changed(item, { start: at })];
    return [replaced(doc, item, ...pieces), pieces[1]];
  },

  add(doc, item) {
    const made = { kind: "added", score: null, original: null, time: now(), ...item };
    return [replaced(doc, null, made), made];
  },

  /** Stretches that were looked at in full, with one more; or without any. */
  review(doc, span) {
    return [{ ...doc, reviewed: span ? union([...doc.reviewed, span]) : [] }, undefined];
  },
};

/** The detection behind an item. */
function reopened(item) {
  return { ...item, ...(item.original || {}), kind: "open", original: null, time: "" };
}

function changed(item, values) {
  const made = { ...item, ...values, time: now() };
  if (item.kind === "added") return made;
  const { label, start, end } = item.original || item;
  const back = made.label === label && made.start === start && made.end === end;
  return { ...made, kind: back ? "accepted" : "corrected", original: back ? null : { label, start, end } };
}

/** Stretches of time, sorted, none touching another. */
function union(spans) {
  const merged = [];
  for (const [start, end] of [...spans].sort((a, b) => a[0] - b[0])) {
    const last = merged.at(-1);
    if (last && start <= last[1]) last[1] = Math.max(last[1], end);
    else if (end > start) merged.push([start, end]);
  }
  return merged;
}
