// The sections below the timeline, the keys, and the start.

/** Wrong detections at the threshold, by class; and the profile that came with the data. */
function showErrors() {
  const sum = (values) => values.reduce((a, b) => a + b, 0);
  const counts = [...result.counts.byClass(state)].filter(([label]) => label >= 0 && (state.label < 0 || label === state.label));
  const missed = sum(counts.map(([, count]) => count.missed));
  const rows = counts
    .filter(([, count]) => count.wrong)
    .map(([label, count]) => ({ name: data.labels[label], label, values: count.kinds }));
  const total = FALSE_KINDS.map((_, place) => sum(rows.map((r) => r.values[place])));
  const sorted = [...rows].sort((a, b) => sum(b.values) - sum(a.values)).slice(0, 12);
  const kinds = FALSE_KINDS.map((kind) => ({ name: KIND[kind], style: kind }));
  byId("errors-text").textContent =
    `At the threshold and tIoU chosen above: ${short(sum(total))} wrong detections and ${short(missed)} missed actions.` +
    (rows.length > 12 ? " The 12 classes with most wrong detections are shown." : "");
  const parts = [];
  if (sum(total)) parts.push(stackedBars(sorted.length > 1 ? [{ name: "All classes", values: total }] : sorted, kinds));
  if (sorted.length > 1) parts.push(el("h3", {}, "By class"), stackedBars(sorted, kinds, false));
  if (data.profile) parts.push(...showProfile(data.profile));
  byId("errors-body").replaceChildren(...parts);
}

const KIND_OF_STYLE = { "right-kind": "right", ...Object.fromEntries(FALSE_KINDS.map((kind) => [kind, KIND[kind]])) };

/** The false-positive profile: of the best k·G detections (G true actions), how many are wrong in which way. */
function showProfile(profile) {
  const kinds = profile.styles.map((style) => ({ name: KIND_OF_STYLE[style], style }));
  const rows = profile.rows.map((values, place) => ({ name: `best ${profile.names[place].replace("G", "·G")}`, values }));
  const text =
    `For every class with G true actions, its k·G detections with the highest scores: how many are right at tIoU ${profile.tiou}, ` +
    "and what is wrong with the others. Wrong ones in the first rows cost the most.";
  const points = (gain) => `${gain < 0 ? "−" : "+"}${Math.abs(100 * gain).toFixed(2)}`;
  return [
    el("h3", {}, "False-positive profile"),
    el("p", { class: "muted" }, text),
    stackedBars(rows, kinds),
    el("h3", {}, "What mending would bring"),
    el("p", { class: "muted" }, "Average mAP, in points, if all errors of one kind were gone."),
    plainTable(["Kind of error", "mAP points"], profile.gains.map(([name, gain]) => [nameOf(profile, name), points(gain)])),
  ];
}

function nameOf(profile, kind) {
  return KIND_OF_STYLE[profile.styles[profile.kinds.indexOf(kind)]];
}

const MAIN_CURVES = 8;

function showTraining() {
  const body = byId("training-body");
  body.append(el("div", { class: "charts" }, ...data.training.slice(0, MAIN_CURVES).map(lineChart)));
  const rest = data.training.slice(MAIN_CURVES);
  if (!rest.length) return;
  const charts = el("div", { class: "charts" });
  const more = el("details", {}, el("summary", {}, `${rest.length} more numbers of the log`), charts);
  more.addEventListener("toggle", () => charts.childElementCount || charts.append(...rest.map(lineChart)));
  body.append(more);
}

function showMemory() {
  const memory = data.memory;
  byId("memory-text").textContent =
    `Rows of the training videos at optimizer step ${short(memory.now)}: how many steps ago each was last written. ` +
    `${percent(memory.neverShare)} of them still come from the extraction.` +
    (memory.untouched ? ` ${short(memory.untouched)} other videos of the store are never written by training.` : "");
  const heads = ["Video", "Rows", "From extraction", "Mean age", "Oldest", "Writes a row"];
  const rows = memory.videos.map((v) => [v.id, v.rows, percent(v.never), v.ageMean, v.ageMax, v.writes]);
  byId("memory-body").replaceChildren(
    el("div", { class: "charts" }, histogram("Age of rows", memory.edges, memory.counts, "steps")),
    el("h3", {}, "Videos with the oldest rows"),
    plainTable(heads, rows),
  );
}

function showLegend() {
  const sample = (names, text, words) =>
    el("li", {}, el("span", { class: `seg sample ${names}`, style: { "--hue": hue(0) }, "aria-hidden": true }, text), words);
  const items = result.hasTruth
    ? [
        sample("truth hit", "", "true action, found"),
        sample("truth missed", "○", "true action, missed"),
        sample("found right", "✓ 0.9", "detection, right"),
        sample("found wrong", "✕ 0.7", "detection, wrong"),
      ]
    : [sample("found", "0.9", "detection with its score")];
  if (result.videos.some((video) => video.found.length > MOST_BARS)) {
    const shade = el("span", { class: "tl-crowd sample", style: { "--hue": hue(0) }, "aria-hidden": true });
    items.push(el("li", {}, shade, "more of them, with lower scores"));
  }
  byId("legend").replaceChildren(...items);
}

const KEYS = [
  ["Space", "play or pause", () => player.toggle()],
  ["n", "next error", () => stepError(1)],
  ["p", "previous error", () => stepError(-1)],
  ["j", "next bar", () => stepItem(1)],
  ["k", "previous bar", () => stepItem(-1)],
  ["←", "one second back", () => player.seek(player.time - 1)],
  ["→", "one second on", () => player.seek(player.time + 1)],
  [",", "a frame back (0.04 s)", () => player.seek(player.time - 0.04)],
  [".", "a frame on (0.04 s)", () => player.seek(player.time + 0.04)],
  ["[", "lower the score threshold", () => setThreshold(state.threshold - 0.05)],
  ["]", "raise the score threshold", () => setThreshold(state.threshold + 0.05)],
  ["v", "next video", () => openVideo(list.neighbour(1))],
  ["b", "video before", () => openVideo(list.neighbour(-1))],
  ["+", "zoom in", () => zoom(1)],
  ["−", "zoom out", () => zoom(-1)],
  ["e", "errors only, or everything", () => byId("only-errors").click()],
  ["?", "this list", () => byId("keys").showModal()],
];
const SAME_KEY = { " ": "Space", ArrowLeft: "←", ArrowRight: "→", "-": "−", "=": "+" };

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("keys").open) return;
  const target = event.target;
  const key = SAME_KEY[event.key] || event.key;
  const typing = target.matches("input:not([type=range], [type=checkbox]), select, textarea");
  const own = { Space: "button, input, summary, video", "←": "input, video, .scroll", "→": "input, video, .scroll" }[key];
  if (typing || (own && target.matches(own))) return;
  const entry = KEYS.find(([name]) => name === key);
  if (!entry || (!result.videos.length && key !== "?")) return;
  event.preventDefault();
  entry[2]();
}

function setThreshold(value) {
  updateSoon({ threshold: Math.min(1, Math.max(0, Math.round(value * 100) / 100)), ownThresholds: false });
  byId("own-thresholds").checked = false;
}

const THEMES = ["system", "light", "dark"];

function setTheme(name) {
  if (name === "system") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.setAttribute("data-theme", name);
  const button = byId("theme-button");
  button.textContent = `Theme: ${name}`;
  button.dataset.theme = name;
  if (result.videos.length) showTimeline();
}

function option(value, text) {
  return el("option", { value }, text);
}

function wire() {
  byId("tiou").append(...[0.3, 0.4, 0.5, 0.6, 0.7, 0.8].map((limit) => option(limit, limit.toFixed(1))));
  byId("tiou").value = "0.5";
  const used = new Set(result.videos.flatMap((v) => [...v.truth, ...v.found]).map((item) => item.label));
  const names = [...used].sort((a, b) => data.labels[a].localeCompare(data.labels[b], undefined, { numeric: true }));
  byId("label-filter").append(option(-1, "all classes"), ...names.map((label) => option(label, data.labels[label])));
  byId("threshold").addEventListener("input", (event) => setThreshold(Number(event.target.value)));
  byId("tiou").addEventListener("change", (event) => {
    update({ tiou: Number(event.target.value) });
    describe(state.selected);
  });
  byId("label-filter").addEventListener("change", (event) => update({ label: Number(event.target.value) }));
  byId("only-errors").addEventListener("change", (event) => update({ onlyErrors: event.target.checked }));
  byId("own-thresholds").addEventListener("change", (event) => update({ ownThresholds: event.target.checked }));
  byId("next-error").addEventListener("click", () => stepError(1));
  byId("prev-error").addEventListener("click", () => stepError(-1));
  byId("play").addEventListener("click", () => player.toggle());
  byId("zoom-in").addEventListener("click", () => zoom(1));
  byId("zoom-out").addEventListener("click", () => zoom(-1));
  byId("keys-button").addEventListener("click", () => byId("keys").showModal());
  byId("theme-button").addEventListener("click", (event) => {
    setTheme(THEMES[(THEMES.indexOf(event.target.dataset.theme || "system") + 1) % THEMES.length]);
  });
  byId("keys-list").append(...KEYS.flatMap(([key, what]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, what)]));
  document.addEventListener("keydown", onKey);
  let width = byId("timeline").clientWidth;
  new ResizeObserver(() => {
    const now = byId("timeline").clientWidth;
    if (Math.abs(now - width) < 40) return;
    width = now;
    timeline.resized();
    showTimeline();
  }).observe(byId("timeline"));
}

function start() {
  byId("title").textContent = data.title;
  byId("subtitle").textContent = data.subtitle;
  byId("notes").append(...data.notes.map((note) => el("li", {}, note)));
  byId("footer").textContent = `Made by longtal ${data.version} on ${data.created}. This page loads nothing from the network.`;
  for (const id of ["classes", "errors"]) byId(id).hidden = !result.hasTruth;
  byId("training").hidden = !data.training.length;
  byId("memory").hidden = !data.memory;
  for (const id of ["tiou-field", "errors-field", "next-error", "prev-error"]) byId(id).hidden = !result.hasTruth;
  byId("own-field").hidden = !data.thresholds;
  byId("explore").hidden = !result.videos.length;
  byId("sections").append(
    ...[...document.querySelectorAll("main section[id]")]
      .filter((section) => !section.hidden)
      .map((section) => el("a", { href: `#${section.id}` }, section.querySelector("h2").textContent)),
  );
  result.match(state.tiou);
  state.threshold = result.hasTruth ? result.counts.bestThreshold() : data.threshold;
  state.ownThresholds = Boolean(data.thresholds) && !result.hasTruth;
  byId("own-thresholds").checked = state.ownThresholds;
  wire();
  if (result.hasTruth) {
    byId("classes-text").textContent = "AP is for all scores; the other columns are at the threshold and tIoU chosen above.";
  }
  showLegend();
  if (data.training.length) showTraining();
  if (data.memory) showMemory();
  if (result.videos.length) openVideo(0);
  byId("cards").hidden = !result.videos.length;
}

start();
