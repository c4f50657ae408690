// What a change takes out of a document and what it puts in: {minus, plus}, each {items, reviewed}, where
// `reviewed` is null unless the change is about it. A change is what is saved, and turned round it is undone.

/** From one document to another. Items that stay are the same objects, or have the same `keyOfItem`. */
function changeBetween(before, after, keyOfItem = (item) => item) {
  const without = (items, others) => {
    const keys = new Set(others.map(keyOfItem));
    return items.filter((item) => !keys.has(keyOfItem(item)));
  };
  const spans = JSON.stringify(before.reviewed) !== JSON.stringify(after.reviewed);
  return {
    minus: { items: without(before.items, after.items), reviewed: spans ? before.reviewed : null },
    plus: { items: without(after.items, before.items), reviewed: spans ? after.reviewed : null },
  };
}

function isNothing({ minus, plus }) {
  return !minus.items.length && !plus.items.length && !plus.reviewed;
}

function turned({ minus, plus }) {
  return { minus: plus, plus: minus };
}

/** All that an item is, as text. */
function valueOf(item) {
  const { label, start, end } = item.original || {};
  return `${item.kind}|${keyOf(item)}|${item.time}|${label}|${start}|${end}`;
}

/** The document after a change; null where what it takes away is not there. */
function applied(doc, { minus, plus }) {
  const items = [...doc.items];
  for (const gone of minus.items) {
    const value = valueOf(gone);
    const at = items.findIndex((item) => item === gone || (item.start === gone.start && valueOf(item) === value));
    if (at < 0) return null;
    items.splice(at, 1);
  }
  return { items: [...items, ...plus.items], reviewed: plus.reviewed || doc.reviewed };
}

function changeToWire({ minus, plus }, labels) {
  return { minus: toWire(minus, labels), plus: toWire(plus, labels) };
}

function changeFromWire({ minus, plus }, numberOf) {
  const part = (wire) => ({ ...fromWire(wire, numberOf), reviewed: wire.reviewed || null });
  return { minus: part(minus), plus: part(plus) };
}
