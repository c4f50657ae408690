// The table of classes: AP at each tIoU, and precision and recall at the threshold chosen above.

function bar(fraction, text) {
  return el(
    "span",
    { class: "bar" },
    el("span", { class: "bar-fill", style: { width: `${Number.isFinite(fraction) ? 100 * fraction : 0}%` }, "aria-hidden": true }),
    el("span", { class: "bar-text" }, text),
  );
}

class ClassTable {
  constructor(result) {
    this.result = result;
    this.sort = { key: "actions", down: true };
  }

  columns() {
    const { tiou, perClass } = this.result.data;
    const columns = [
      { key: "label", name: "Class", text: true, value: (r) => r.name },
      { key: "actions", name: "Actions", value: (r) => r.count.actions },
      { key: "found", name: "Found", value: (r) => r.count.found },
      { key: "right", name: "Right", value: (r) => r.count.right },
      { key: "precision", name: "Precision", bar: true, value: (r) => r.rates.precision },
      { key: "recall", name: "Recall", bar: true, value: (r) => r.rates.recall },
      { key: "f1", name: "F1", bar: true, value: (r) => r.rates.f1 },
    ];
    if (perClass) {
      const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
      columns.push({ key: "ap", name: "AP, mean", bar: true, value: (r) => (r.ap ? mean(r.ap) : NaN) });
      const shown = tiou.length <= 3 ? tiou : [tiou[0], tiou[tiou.length >> 1], tiou.at(-1)];
      for (const limit of shown) {
        const place = tiou.indexOf(limit);
        columns.push({ key: `ap${limit}`, name: `AP ${limit}`, bar: true, value: (r) => (r.ap ? r.ap[place] : NaN) });
      }
    }
    return columns;
  }

  render(state) {
    const { labels, perClass } = this.result.data;
    const counts = this.result.counts.byClass(state);
    const rows = [...counts.keys()]
      .filter((label) => label >= 0)
      .map((label) => {
        const count = counts.get(label);
        return { name: labels[label], label, count, rates: rates(count), ap: perClass ? perClass[label] : null };
      });
    const columns = this.columns();
    const by = columns.find((column) => column.key === this.sort.key);
    const sign = this.sort.down ? -1 : 1;
    rows.sort((a, b) => {
      const [x, y] = [by.value(a), by.value(b)];
      if (by.text) return sign * x.localeCompare(y, undefined, { numeric: true });
      if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1;
      return sign * (x - y) || a.label - b.label;
    });
    const head = el("tr", {}, ...columns.map((column) => this.heading(column, state)));
    const body = rows.map((row) => el("tr", {}, ...columns.map((column) => this.cell(column, row))));
    byId("class-table").replaceChildren(el("thead", {}, head), el("tbody", {}, ...body));
  }

  heading(column, state) {
    const active = column.key === this.sort.key;
    const arrow = active ? (this.sort.down ? " ▾" : " ▴") : "";
    const button = el(
      "button",
      {
        type: "button",
        onclick: () => {
          this.sort = { key: column.key, down: active ? !this.sort.down : !column.text };
          this.render(state);
          [...byId("class-table").querySelectorAll("th button")].find((b) => b.dataset.key === column.key).focus();
        },
      },
      column.name + arrow,
    );
    button.dataset.key = column.key;
    const order = active ? (this.sort.down ? "descending" : "ascending") : "none";
    return el("th", { scope: "col", class: column.text ? "" : "num", "aria-sort": order }, button);
  }

  cell(column, row) {
    const value = column.value(row);
    if (column.text) {
      const dot = el("i", { class: "dot", style: { "--hue": hue(row.label) }, "aria-hidden": true });
      return el("th", { scope: "row" }, dot, value);
    }
    return el("td", { class: "num" }, column.bar ? bar(value, percent(value)) : short(value));
  }
}
