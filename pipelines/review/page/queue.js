// The stretches that are worth a look, in the order of `longtal review --next`, over all videos.

const queue = { items: [], at: -1, known: [], asking: false };
// So long after a stretch has ended it still is the one that `y` means.
const AFTER_S = 5;

/** To the next stretch that nobody looked at; at the end of the queue the server is asked for more. */
async function stepQueue() {
  if (!canEdit() || queue.asking) return;
  if (!advance()) {
    queue.asking = true;
    showQueue("Looking for what is worth a look…");
    const answer = await saver.askNext();
    queue.asking = false;
    if (answer.error) {
      showQueue(`What is worth a look is not known: ${answer.error}`);
      return;
    }
    takeQueue(answer);
    if (!advance()) {
      showQueue(`Nothing is left that is worth a look. ${queue.known.join("; ")}.`);
      return;
    }
  }
  const item = queue.items[queue.at];
  goToStretch(item.video, item.segment);
  const about = item.detection;
  const isIt = ({ label, start, end }) =>
    start === about.segment[0] && end === about.segment[1] && data.labels[label] === about.label;
  const found = about && currentVideo().found.find(isIt);
  if (found) {
    redraw(found);
    timeline.mark(found);
  }
  showQueue();
}

/** On to the next place of the queue that waits; whether there is one. */
function advance() {
  const waits = ({ video, segment }) => !board.isSeen(board.videos[video], segment);
  const next = queue.items.findIndex((item, place) => place > queue.at && waits(item));
  if (next >= 0) queue.at = next;
  return next >= 0;
}

function takeQueue({ items, sampled, known, notes }) {
  Object.assign(queue, { items, at: -1, known: [...known, ...notes] });
  for (const [number, samples] of Object.entries(sampled)) {
    const video = board.videos[number];
    video.wire.sampled = samples;
    board.show(video, video.doc);
  }
  showStretches();
}

/** Show a stretch of a video, from its start. */
function goToStretch(number, stretch) {
  if (number !== state.video) openVideo(number);
  redraw(null);
  state.stretch = stretch;
  player.seek(stretch[0]);
}

/** Say where in the queue one is, why, and what is known so far; or something else. */
function showQueue(text) {
  const line = byId("queue");
  line.hidden = !text && queue.at < 0;
  if (text || queue.at < 0) {
    setText(line, text || "");
    return;
  }
  const { video, segment, reason, detail } = queue.items[queue.at];
  const seen = queue.items.filter((item) => board.isSeen(board.videos[item.video], item.segment));
  const here = seen.includes(queue.items[queue.at]) ? "Looked at: f goes on." : "Judge and add all that is in it, then press y.";
  const why = [reason, detail].filter(Boolean).join(": ");
  const where = `${board.videos[video].id}, ${clock(segment[0])} to ${clock(segment[1])}`;
  const done = `${queue.at + 1} of ${queue.items.length}, ${seen.length} looked at`;
  setText(line, `${done} · ${why} · ${where}. ${here} When it was asked for: ${queue.known.join("; ")}.`);
}

/** The stretch that was gone to, or a drawn one around this moment, counts as looked at. */
function markStretch() {
  const video = currentVideo();
  const around = ([start, end], after) => start - 1e-3 <= player.time && player.time < end + after;
  const gone = state.stretch && !board.isSeen(video, state.stretch) && around(state.stretch, AFTER_S);
  const span = gone ? state.stretch : board.drawn(video).find((drawn) => around(drawn, 0));
  if (!span) say("No stretch is here that waits to be looked at: press f or g for the next.");
  else edit("review", span);
}

/** Buttons and legend of stretches, where there are some. */
function showStretches() {
  const drawn = board.videos.some((video) => video.wire.sampled.length);
  byId("next-drawn").hidden = !drawn;
  byId("drawn").hidden = !drawn && !queue.items.length;
  byId("next-doubt").hidden = !data.token;
  showLegend(drawn);
}
