// Small charts in SVG, each with its figures in words for those who do not see it.

/** Rows of parts that add up: kinds of error by class, or by number of detections kept. */
function stackedBars(rows, kinds, withLegend = true) {
  const most = Math.max(1, ...rows.map((row) => row.values.reduce((a, b) => a + b, 0)));
  const legend = el(
    "ul",
    { class: "legend" },
    ...kinds.map((kind) => el("li", {}, el("i", { class: `swatch ${kind.style}`, "aria-hidden": true }), kind.name)),
  );
  const lines = rows.map((row) => {
    const total = row.values.reduce((a, b) => a + b, 0);
    const parts = row.values.map((value, place) =>
      value
        ? el(
            "span",
            {
              class: `part ${kinds[place].style}`,
              style: { width: `${(100 * value) / most}%` },
              title: `${kinds[place].name}: ${short(value)}`,
            },
            el("span", { class: "part-text" }, value / most > 0.045 ? short(value) : ""),
          )
        : null,
    );
    const words = kinds.map((kind, place) => `${kind.name} ${short(row.values[place])}`).join(", ");
    return el(
      "div",
      { class: "stack-row", role: "img", "aria-label": `${row.name}: ${words}` },
      el("span", { class: "stack-name" }, row.name),
      el("span", { class: "stack-bar" }, ...parts),
      el("span", { class: "stack-total num" }, short(total)),
    );
  });
  return el("div", { class: "stacks" }, withLegend ? legend : null, ...lines);
}

/** A running mean that follows the data's own pace; few points stay as they are. */
function smooth(values) {
  if (values.length < 60) return null;
  const keep = Math.exp(-1 / Math.max(4, values.length / 40));
  let sum = 0;
  let weight = 0;
  return values.map((value) => {
    sum = keep * sum + (1 - keep) * value;
    weight = keep * weight + (1 - keep);
    return sum / weight;
  });
}

function lineChart(series) {
  const [width, height, left, right, top, bottom] = [320, 170, 46, 10, 10, 22];
  const { step, value, name } = series;
  let [low, high] = [Math.min(...value), Math.max(...value)];
  if (low === high) [low, high] = [low - 0.5 * (Math.abs(low) || 1), high + 0.5 * (Math.abs(high) || 1)];
  const [first, last] = [step[0], step.at(-1)];
  const x = (s) => left + ((s - first) / (last - first || 1)) * (width - left - right);
  const y = (v) => top + (1 - (v - low) / (high - low)) * (height - top - bottom);
  const path = (values) => values.map((v, i) => `${i ? "L" : "M"}${x(step[i]).toFixed(1)} ${y(v).toFixed(1)}`).join("");
  const calm = smooth(value);
  const best = value.indexOf(Math.min(...value));
  const peak = value.indexOf(Math.max(...value));
  const words =
    `${name}: ${short(value[0])} at step ${first}, ${short(value.at(-1))} at step ${last}; ` +
    `lowest ${short(value[best])} at step ${step[best]}, highest ${short(value[peak])} at step ${step[peak]}`;
  const text = (place, anchor, content, extra) => svg("text", { ...place, "text-anchor": anchor, ...extra }, content);
  const cross = svg("g", { class: "cross", visibility: "hidden" }, svg("line", { y1: top, y2: height - bottom }), svg("circle", { r: 3.5 }));
  const readout = el("span", { class: "num readout" }, short(value.at(-1)));
  const chart = svg(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": words, tabindex: 0 },
    ...[low, (low + high) / 2, high].map((v) => svg("line", { class: "grid", x1: left, x2: width - right, y1: y(v), y2: y(v) })),
    ...[low, (low + high) / 2, high].map((v) => text({ x: left - 6, y: y(v) + 3.5 }, "end", short(Number(v.toPrecision(3))))),
    text({ x: left, y: height - 6 }, "start", short(first)),
    text({ x: width - right, y: height - 6 }, "end", `step ${short(last)}`),
    svg("path", { class: calm ? "line raw" : "line", d: path(value) }),
    ...(calm ? [svg("path", { class: "line", d: path(calm) })] : []),
    ...(value.length <= 30 ? value.map((v, i) => svg("circle", { class: "point", cx: x(step[i]), cy: y(v), r: 2.5 })) : []),
    cross,
  );
  const show = (i) => {
    cross.setAttribute("visibility", "visible");
    cross.firstChild.setAttribute("x1", x(step[i]));
    cross.firstChild.setAttribute("x2", x(step[i]));
    cross.lastChild.setAttribute("cx", x(step[i]));
    cross.lastChild.setAttribute("cy", y(value[i]));
    readout.textContent = `${short(value[i])} at step ${short(step[i])}`;
  };
  const hide = () => {
    cross.setAttribute("visibility", "hidden");
    readout.textContent = short(value.at(-1));
  };
  let at = value.length - 1;
  chart.addEventListener("pointermove", (event) => {
    const box = chart.getBoundingClientRect();
    const where = ((event.clientX - box.left) / box.width) * width;
    at = step.reduce((near, s, i) => (Math.abs(x(s) - where) < Math.abs(x(step[near]) - where) ? i : near), 0);
    show(at);
  });
  chart.addEventListener("pointerleave", hide);
  chart.addEventListener("blur", hide);
  chart.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    at = Math.min(value.length - 1, Math.max(0, at + by));
    show(at);
  });
  return el("figure", { class: "chart" }, el("figcaption", {}, el("span", {}, name), readout), chart);
}

/** Bars over ranges: {edges [n + 1], counts [n]}. */
function histogram(name, edges, counts, unit) {
  const most = Math.max(1, ...counts);
  const all = counts.reduce((a, b) => a + b, 0) || 1;
  const bars = counts.map((count, i) => {
    const range = edges[i + 1] - edges[i] <= 1 ? short(edges[i]) : `${short(edges[i])}–${short(edges[i + 1])}`;
    return el(
      "div",
      { class: "hist-bar", title: `${range} ${unit}: ${short(count)} (${percent(count / all)})` },
      el("span", { class: "hist-fill", style: { height: `${(100 * count) / most}%` } }),
    );
  });
  const words = counts.map((count, i) => `${short(edges[i])} to ${short(edges[i + 1])}: ${short(count)}`).join("; ");
  return el(
    "figure",
    { class: "chart hist" },
    el("figcaption", {}, el("span", {}, name), el("span", { class: "num readout" }, `${short(all)} rows`)),
    el("div", { class: "hist", role: "img", "aria-label": `${name}. ${words}` }, ...bars),
    el("div", { class: "hist-axis num", "aria-hidden": true }, el("span", {}, short(edges[0])), el("span", {}, unit), el("span", {}, short(edges.at(-1)))),
  );
}

function plainTable(heads, rows) {
  const cell = (value) => el("td", { class: "num" }, typeof value === "number" ? short(value) : value);
  return el(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table" },
    el(
      "table",
      {},
      el("thead", {}, el("tr", {}, ...heads.map((head, i) => el("th", { scope: "col", class: i ? "num" : "" }, head)))),
      el("tbody", {}, ...rows.map((row) => el("tr", {}, el("th", { scope: "row" }, row[0]), ...row.slice(1).map(cell)))),
    ),
  );
}
