// What can be done to the selected item; every edit goes through `edit`.

function canEdit() {
  if (!saver.lost) return true;
  say("Read-only: there is no server to save to. Download keeps what you see.");
  return false;
}

/** Make an edit of the current video: keep the old document, show the new one, save it. */
function edit(name, ...values) {
  if (!canEdit()) return;
  const video = currentVideo();
  const result = EDITS[name](video.doc, ...values);
  if (!result) return;
  const [doc, next] = result;
  const change = changeBetween(video.doc, doc);
  undos.keep(video, change);
  board.show(video, doc);
  saver.save(video, "do", change);
  redraw(next === undefined ? state.selected : next);
}

function onSelected(name, ...values) {
  if (!state.selected) say("Select a bar first: click it, or press j or n.");
  else edit(name, state.selected, ...values);
}

function judge(name) {
  const item = state.selected;
  if (item && item.kind === "added" && name === "accept") say("An added action is true already.");
  else onSelected(name);
}

/** Put an edge of the selected item at a moment. */
function setEdge(side, seconds) {
  const item = state.selected;
  if (!item) {
    say("Select a bar first: click it, or press j or n.");
    return;
  }
  const values = { start: item.start, end: item.end, [side]: seconds };
  if (!(values.start < values.end)) say("An action ends after its start.");
  else edit("change", item, values);
  player.seek(seconds);
}

/** Move an edge of the selected item to the picture before or after. */
function nudge(side, by) {
  if (state.selected) setEdge(side, player.beside(state.selected[side], by));
  else setEdge(side, 0);
}

/** The class of a segment that has begun, else of the selected one; and of those that come. */
function setLabel(label) {
  state.newLabel = label;
  if (state.mark === null && state.selected) edit("change", state.selected, { label });
  showControls();
}

function beginSegment() {
  if (!canEdit()) return;
  state.mark = player.pictureTime;
  say(`A new segment begins at ${clock(state.mark, 3)}: press o where it ends.`);
  timeline.begun(state.mark, player.time);
}

function endSegment() {
  if (state.mark === null) {
    say("Press i first, where the segment begins.");
    return;
  }
  const start = state.mark;
  const end = player.time >= currentVideo().duration - 1e-3 ? currentVideo().duration : player.pictureTime;
  if (end <= start) {
    say(`A segment ends after its start, ${clock(start, 3)}.`);
    return;
  }
  state.mark = null;
  edit("add", { label: state.newLabel, start, end });
}

function splitSelected() {
  const at = player.pictureTime;
  const item = state.selected;
  if (item && !(item.start < at && at < item.end)) say("Go to a moment inside the selected segment to split it.");
  else onSelected("split", at);
}

/** Take the last change back (by = -1), or make it again. */
function undo(by) {
  if (!canEdit()) return;
  const video = currentVideo();
  const change = undos.next(video, by);
  if (!change) {
    say(by < 0 ? "Nothing to undo." : "Nothing to redo.");
    return;
  }
  const doc = applied(video.doc, change);
  if (!doc) {
    say("What would be taken back is not there any more: another program changed the history.");
    return;
  }
  undos.step(video, by);
  board.show(video, doc);
  saver.save(video, by < 0 ? "undo" : "redo", change);
  redraw(board.same(video, state.selected));
}

/** To the next stretch that was drawn by chance and that nobody looked at, in this video or another. */
function stepDrawn() {
  const count = board.videos.length;
  for (let far = 0; far <= count; far += 1) {
    const number = (state.video + far) % count;
    const spans = board.drawn(board.videos[number]);
    const next = far ? spans[0] : spans.find(([start]) => start > player.time + 1e-3);
    if (!next) continue;
    goToStretch(number, next);
    say(`Drawn by chance: ${clock(next[0])} to ${clock(next[1])}. Judge and add all that is in it, then press y.`);
    return;
  }
  say("Every drawn stretch is looked at.");
}

/** The whole video, or up to now, counts as looked at; a second time, no longer. */
function markReviewed(end) {
  const video = currentVideo();
  const undone = end === video.duration && board.isReviewed(video);
  edit("review", undone ? null : [0, end]);
}

/** Somebody else changed a video: show theirs, and let undo bring ours back. */
function showTheirs(video, wire, ours) {
  const before = video.doc;
  board.adopt(video, wire);
  undos.forget(video);
  if (ours) {
    undos.keep(video, { ...changeBetween(before, video.doc, valueOf), unsent: true });
    saver.on.state("bad", "Another tab changed this video first: its state is shown. Undo brings yours back.");
  }
  refresh(video);
  return learnHistory(video);
}

/** The server does not take a change: what is saved is what counts. */
async function showRefused(video, why) {
  showSaving("bad", `Not saved: ${why}. What is shown is what was saved.`);
  const wire = await saver.ask("document", video);
  if (wire) await showTheirs(video, wire, false);
}

/** Ask for what can be undone, also what was done before a reload or in another tab. */
async function learnHistory(video) {
  video.hasHistory = false;
  const kept = await saver.ask("history", video);
  if (!kept || kept.version !== video.version) return; // asked again when it is saved, or seen to be changed
  const read = (changes) => changes.map((change) => changeFromWire(change, (label) => board.numberOf(label)));
  undos.adopt(video, read(kept.past), read(kept.future));
  video.hasHistory = true;
  showControls();
}
