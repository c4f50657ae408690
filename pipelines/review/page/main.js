// What is on the page follows from `state` and the documents of the videos; `redraw` shows it.

const data = JSON.parse(byId("data").textContent);
const board = new Board(data);
const undos = new Undos();
const state = {
  video: 0,
  threshold: 0,
  label: -1,
  onlyErrors: false,
  rejected: true,
  zoom: 1,
  selected: null,
  newLabel: 0, // of the next segment
  mark: null, // where it begins
  stretch: null, // worth a look or drawn by chance, and gone to
  loop: false,
};
const saver = new Saver(board, data.token, {
  state: (kind, text) => showSaving(kind, text),
  saved: (video) => video.hasHistory || learnHistory(video),
  theirs: (video, wire) => showTheirs(video, wire, true),
  refused: (video, why) => showRefused(video, why),
});
const player = new ReviewPlayer((time, playing) => showTime(time, playing));
const timeline = new ReviewTimeline(byId("timeline"), {
  seek: (seconds) => player.seek(player.snap(seconds)),
  select: (item) => select(item),
});
new EdgeDrag(timeline, player, {
  canEdit,
  seek: (seconds) => player.seek(seconds),
  drop: (item, values) => edit("change", item, values),
});
const list = new ReviewList(board, (number) => openVideo(number));

function currentVideo() {
  return board.videos[state.video];
}

function set(changes) {
  Object.assign(state, changes);
  redraw(state.selected);
}

/** Draw everything, with this item selected, and say what it is. */
function redraw(selected) {
  draw(selected);
  describe(selected);
}

/** Draw a video anew after news from the server: what was said stays, unless the selected item is another now. */
function refresh(video) {
  if (video !== currentVideo()) return;
  const before = state.selected;
  const same = board.same(video, before);
  draw(same);
  if (before && (!same || same.kind !== before.kind)) describe(same);
}

function draw(selected) {
  const inside = byId("timeline").contains(document.activeElement);
  state.selected = selected;
  if (selected && state.mark === null) state.newLabel = selected.label;
  if (board.videos.length) {
    timeline.render(board, currentVideo(), state, player.time);
    timeline.begun(state.mark, player.time);
    if (inside && timeline.has(selected)) timeline.buttons.get(selected).focus({ preventScroll: true });
    showTime(player.time, player.playing);
  }
  list.render(state);
  showControls();
  showQueue(queue.asking ? "Looking for what is worth a look…" : "");
}

function showControls() {
  const video = currentVideo();
  showClasses();
  byId("threshold").value = String(state.threshold);
  byId("threshold-value").textContent = state.threshold.toFixed(2);
  byId("zoom-value").textContent = `${state.zoom}×`;
  byId("label").value = String(state.newLabel);
  byId("rate").value = String(player.rate);
  byId("loop").setAttribute("aria-pressed", String(state.loop));
  if (!video) return;
  byId("reviewed").setAttribute("aria-pressed", String(board.isReviewed(video)));
  byId("undo").disabled = !undos.can(video, -1);
  byId("redo").disabled = !undos.can(video, 1);
}

function showSaving(kind, text) {
  const line = byId("saving");
  line.className = `saving ${kind}`;
  setText(line, text);
}

function say(text) {
  byId("selection").textContent = text;
}

/** Say in a line what is selected. */
function describe(item) {
  if (!item) {
    say(state.mark === null ? "Click a bar, or press n for the next detection to judge." : `A new segment begins at ${clock(state.mark, 3)}.`);
    return;
  }
  const span = `${clock(item.start, 3)} to ${clock(item.end, 3)} (${(item.end - item.start).toFixed(3)} s)`;
  const score = item.score === null ? "" : `, score ${item.score.toFixed(3)}`;
  const before = item.original
    ? ` Was “${data.labels[item.original.label]}”, ${clock(item.original.start, 3)} to ${clock(item.original.end, 3)}.`
    : "";
  const kind = KIND_WORDS[item.kind];
  say(`${kind[0].toUpperCase()}${kind.slice(1)}: “${data.labels[item.label]}”, ${span}${score}.${before}`);
}

function select(item) {
  redraw(item);
  player.seek(item.start);
  timeline.mark(item);
}

async function openVideo(number) {
  Object.assign(state, { video: number, selected: null, mark: null, stretch: null, zoom: 1 });
  const video = currentVideo();
  byId("video-title").textContent = video.id;
  player.load(video);
  redraw(null);
  player.seek(0);
  await look();
  if (!data.token || !video.file) return;
  if (!video.src) makeCopy(video);
  if (!video.times) await learnTimes(video);
  if (video.src && !video.copied) checkPlays(video);
}

/** Ask for the times of a video's pictures; with them edges lie on pictures. */
async function learnTimes(video) {
  try {
    video.times = await fetchTimes(video);
    if (!video.times) return;
    video.ends = video.times.at(-1);
    board.show(video, video.doc);
    refresh(video);
  } catch (error) {
    if (video === currentVideo()) say(`Edges do not lie on pictures: ${error.message}`);
  }
}

/** Whether another tab changed the video meanwhile. */
async function look() {
  const video = currentVideo();
  const theirs = await saver.newer(video);
  if (theirs) await showTheirs(video, theirs, false);
  else if (!video.hasHistory) await learnHistory(video);
}

/** To the next (by = 1) or previous (-1) detection that nobody judged, in this video or the next that has one. */
function stepOpen(by) {
  const count = board.videos.length;
  for (let far = 0; far <= count; far += 1) {
    const number = (((state.video + far * by) % count) + count) % count;
    const items = board.open(state, board.videos[number]);
    if (by < 0) items.reverse();
    let next = items[0];
    if (far === 0) {
      const from = state.selected ? state.selected.start : player.time;
      const at = items.indexOf(state.selected);
      next = at >= 0 ? items[at + 1] : items.find((item) => (by > 0 ? item.start >= from - 1e-3 : item.start <= from + 1e-3));
    }
    if (!next) continue;
    if (number !== state.video) openVideo(number);
    select(next);
    return;
  }
  say("Every detection on show is judged.");
}

/** To the next or previous bar on show. */
function stepItem(by) {
  const items = timeline.items();
  const at = items.indexOf(state.selected);
  let next = items[at + by];
  if (at < 0) {
    next = by > 0 ? items.find((i) => i.start > player.time - 1e-3) : items.findLast((i) => i.start < player.time - 1e-3);
  }
  if (next) select(next);
}

function zoom(by) {
  const most = Math.max(1, 2 ** Math.ceil(Math.log2(currentVideo().duration / 2)));
  set({ zoom: Math.min(most, Math.max(1, by > 0 ? state.zoom * 2 : state.zoom / 2)) });
  timeline.move(player.time, true);
}

function showTime(time, playing) {
  const video = currentVideo();
  const picture = player.stamps ? ` · picture ${player.pictureAt(time)}` : "";
  byId("clock").textContent = `${clock(time, 3)} / ${clock(video.duration)}${picture}`;
  timeline.move(time, playing);
  if (state.mark !== null) timeline.begun(state.mark, time);
}

function start() {
  byId("title").textContent = data.title;
  byId("notes").append(...data.notes.map((note) => el("li", {}, note)));
  byId("rejected-sign").textContent = KIND_SIGN.rejected;
  const has = board.videos.some((video) => video.detections.length);
  for (const id of ["threshold-field", "accept", "reject", "next-open", "prev-open"]) byId(id).hidden = !has;
  wire();
  showStretches();
  if (data.token) showSaving("saved", "Saved");
  else showSaving("bad", "Read-only: this page has no server. Run longtal review to edit.");
  openVideo(0);
}

function showLegend(sampled) {
  const sample = (kind) =>
    el("li", {}, el("span", { class: `seg edit sample ${kind}`, style: { "--hue": hue(0) }, "aria-hidden": true }, KIND_SIGN[kind]), KIND_WORDS[kind]);
  const band = (kind, text) => el("li", {}, el("span", { class: `band sample ${kind}`, "aria-hidden": true }), text);
  byId("legend").replaceChildren(
    ...Object.keys(KIND_SIGN).map(sample),
    band("reviewed", "looked at in full"),
    ...(sampled ? [band("sampled", "drawn to be looked at")] : []),
  );
}

start();
