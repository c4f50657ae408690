// What is on the page follows from `state`; every change goes through `update`.

const data = JSON.parse(byId("data").textContent);
const result = new Result(data);
const state = {
  video: 0,
  threshold: 0.5,
  tiou: 0.5,
  label: -1,
  onlyErrors: false,
  ownThresholds: false,
  zoom: 1,
  selected: null,
};
const player = new Player((time, playing) => showTime(time, playing));
const timeline = new Timeline(byId("timeline"), {
  seek: (seconds) => player.seek(seconds),
  select: (item) => select(item),
});
const list = new VideoList(result, (number) => openVideo(number));
const classes = new ClassTable(result);

function currentVideo() {
  return result.videos[state.video];
}

/** Change the state and show it, all of it, now. */
function update(changes) {
  Object.assign(state, changes);
  if ("tiou" in changes) result.match(state.tiou);
  showControls();
  draw();
  drawTables();
}

// What the slider asks for while it moves: a drawing with the next frame, the tables below when it rests.
const TABLES_MS = 150;
const waiting = { frame: 0, tables: 0 };

function updateSoon(changes) {
  Object.assign(state, changes);
  showControls();
  if (!waiting.frame) waiting.frame = requestAnimationFrame(draw);
  clearTimeout(waiting.tables);
  waiting.tables = setTimeout(drawTables, TABLES_MS);
  for (const id of ["explore", "classes", "errors"]) byId(id).setAttribute("aria-busy", "true");
}

function showControls() {
  byId("threshold").value = String(state.threshold);
  byId("threshold").disabled = state.ownThresholds;
  byId("threshold-value").textContent = state.ownThresholds ? "own" : state.threshold.toFixed(2);
  byId("zoom-value").textContent = `${state.zoom}×`;
}

/** Timeline, list and figures. */
function draw() {
  cancelAnimationFrame(waiting.frame);
  waiting.frame = 0;
  showTimeline();
  list.render(state);
  showCards();
  if (result.videos.length) {
    showTime(player.time, false);
    describe(state.selected);
  }
  byId("explore").removeAttribute("aria-busy");
}

/** What stands below the timeline. */
function drawTables() {
  clearTimeout(waiting.tables);
  if (result.hasTruth) {
    classes.render(state);
    showErrors();
  }
  for (const id of ["classes", "errors"]) byId(id).removeAttribute("aria-busy");
}

/** The drawing that waits for its frame, now: what comes next looks at it. */
function drawWaiting() {
  if (waiting.frame) draw();
}

function showTimeline() {
  if (!result.videos.length) return;
  timeline.render(result, currentVideo(), state, player.time);
}

function openVideo(number, time = 0) {
  state.selected = null;
  state.video = number;
  state.zoom = 1;
  const video = currentVideo();
  byId("video-title").textContent = video.id;
  player.load(video);
  update({});
  player.seek(time);
}

function select(item) {
  drawWaiting();
  state.selected = item;
  if (!timeline.has(item)) showTimeline();
  player.seek(item.start);
  timeline.mark(item);
  describe(item);
}

/** Say in a line what is selected. */
function describe(item) {
  const line = byId("selection");
  if (!item) {
    line.textContent = "Click a bar to see it; the keys n and p go from error to error.";
    return;
  }
  const name = data.labels[item.label];
  const span = `${clock(item.start, 2)} to ${clock(item.end, 2)} (${(item.end - item.start).toFixed(2)} s)`;
  const parts = [];
  if (item.score === null) {
    const missed = result.isMissed(state, currentVideo(), item);
    parts.push(`True action “${name}”, ${span}.`);
    if (missed && item.foundAt >= 0) parts.push(`Missed: found only with score ${item.foundAt.toFixed(2)}, below the threshold.`);
    else if (missed) parts.push(`Missed: no detection reaches tIoU ${state.tiou}.`);
    else parts.push(`Found with score ${item.foundAt.toFixed(2)}, tIoU ${item.by.tiou.toFixed(2)}.`);
  } else {
    parts.push(`Detection “${name}”, score ${item.score.toFixed(3)}, ${span}.`);
    if (item.kind === "right") parts.push(`Right: tIoU ${item.tiou.toFixed(2)}.`);
    else if (item.kind) {
      const near = item.truth
        ? ` Nearest: “${data.labels[item.truth.label]}” ${clock(item.truth.start)} to ${clock(item.truth.end)}, tIoU ${item.tiou.toFixed(2)}.`
        : "";
      parts.push(`Wrong: ${KIND[item.kind]}.${near}`);
    }
  }
  line.textContent = parts.join(" ");
}

/** To the next (by = 1) or previous (-1) error, in this video or the next one that has any. */
function stepError(by) {
  drawWaiting();
  const count = result.videos.length;
  for (let far = 0; far <= count; far += 1) {
    const number = (((state.video + far * by) % count) + count) % count;
    if (!result.counts.video(state, number).errors) continue;
    const errors = result.errors(state, result.videos[number]);
    if (by < 0) errors.reverse();
    let next = errors[0];
    if (far === 0) {
      const at = errors.indexOf(state.selected);
      const past = (item) => (by > 0 ? item.start > player.time - 1e-3 : item.start < player.time - 1e-3);
      next = at >= 0 ? errors[at + 1] : errors.find(past);
    }
    if (!next) continue;
    if (number !== state.video) openVideo(number);
    select(next);
    return;
  }
  byId("selection").textContent = "No errors at this threshold and tIoU.";
}

/** To the next or previous bar on show. */
function stepItem(by) {
  drawWaiting();
  const items = timeline.items();
  const at = items.indexOf(state.selected);
  let next = items[at + by];
  if (at < 0) {
    next = by > 0 ? items.find((i) => i.start > player.time + 1e-3) : items.findLast((i) => i.start < player.time - 1e-3);
  }
  if (next) select(next);
}

function zoom(by) {
  const most = Math.max(1, 2 ** Math.ceil(Math.log2(currentVideo().duration / 10)));
  update({ zoom: Math.min(most, Math.max(1, by > 0 ? state.zoom * 2 : state.zoom / 2)) });
  timeline.move(player.time, true);
}

function showTime(time, playing) {
  const video = currentVideo();
  byId("clock").textContent = `${clock(time)} / ${clock(video.duration)}`;
  timeline.move(time, playing);
  const at = (item) => item.start <= time && time < item.end;
  const chips = [
    ...video.truth.filter(at).map((a) => chip(a, "true", "")),
    ...video.found
      .filter((f) => at(f) && result.isShown(state, f))
      .sort((a, b) => b.score - a.score)
      .map((f) => chip(f, f.kind === null ? "" : f.kind === "right" ? "✓" : "✕", ` ${f.score.toFixed(2)}`)),
  ];
  const key = chips.map((c) => c.textContent).join("|");
  const now = byId("now");
  if (now.dataset.key === key && key) return;
  now.dataset.key = key;
  now.replaceChildren(...(chips.length ? chips : [el("span", { class: "muted" }, "nothing at this moment")]));
}

function chip(item, sign, score) {
  const kind = item.score === null ? "chip true" : "chip found";
  return el(
    "span",
    { class: kind, style: { "--hue": hue(item.label) } },
    sign ? el("b", {}, sign) : null,
    ` ${data.labels[item.label]}${score}`,
  );
}

function showCards() {
  const total = result.counts.byClass(state).get(-1);
  const cards = [["Videos", short(result.videos.length), `${clock(result.videos.reduce((n, v) => n + v.duration, 0), 0)} in all`]];
  if (data.averageMAP !== null) {
    const middle = data.tiou.findIndex((limit) => Math.abs(limit - 0.5) < 1e-9);
    const [low, high] = [data.tiou[0], data.tiou.at(-1)];
    cards.push(["Average mAP", percent(data.averageMAP), low === high ? `tIoU ${low}` : `tIoU ${low} to ${high}`]);
    if (middle >= 0 && low !== high) cards.push(["mAP at 0.5", percent(data.mAP[middle]), `${data.perClass.filter(Boolean).length} classes`]);
  }
  const where = state.ownThresholds ? "calibrated by class" : `score ≥ ${state.threshold.toFixed(2)}`;
  if (result.hasTruth) {
    const rate = rates(total);
    cards.push(["Actions", short(total.actions), `${short(total.missed)} missed`]);
    cards.push(["Detections", short(total.found), where]);
    cards.push(["Precision", percent(rate.precision), `${short(total.right)} right, ${short(total.wrong)} wrong`]);
    cards.push(["Recall", percent(rate.recall), `tIoU ≥ ${state.tiou}`]);
    cards.push(["F1", percent(rate.f1), where]);
  } else cards.push(["Detections", short(total.found), where]);
  byId("cards").replaceChildren(
    ...cards.map(([name, value, note]) =>
      el("div", { class: "card" }, el("dt", {}, name), el("dd", {}, el("strong", { class: "num" }, value), el("small", {}, note))),
    ),
  );
}
