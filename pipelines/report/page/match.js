// Which detection finds which action, and what is wrong with the others.
//
// The rule is that of the mAP: by falling score, a detection takes the untaken action of its class with the
// highest tIoU, if that reaches the limit. A threshold on the score only cuts the tail of that walk, so one
// matching serves every threshold. Kinds of error are those of `longtal evaluate`: a second find of an action, else
// the action it overlaps most decides, and less than 0.1 with all is background.

const KIND = {
  right: "right",
  double: "found twice",
  boundary: "wrong boundaries",
  label: "wrong class",
  confused: "wrong class and boundaries",
  background: "no action there",
};
const FALSE_KINDS = ["double", "boundary", "label", "confused", "background"];

function tiou(aStart, aEnd, bStart, bEnd) {
  const inner = Math.max(0, Math.min(aEnd, bEnd) - Math.max(aStart, bStart));
  const union = bEnd - bStart + (aEnd - aStart) - inner;
  return union > 0 ? inner / union : 0;
}

/** Adds to each detection {kind, truth, tiou} and to each action {foundAt: score or -1, by}. */
function matchVideo(video, limit) {
  for (const action of video.truth) Object.assign(action, { foundAt: -1, by: null });
  if (!video.hasTruth) {
    for (const found of video.found) Object.assign(found, { kind: null, truth: null, tiou: 0 });
    return;
  }
  for (const found of [...video.found].sort((a, b) => b.score - a.score || b.index - a.index)) {
    let free = null;
    let freeTiou = -1;
    let near = null;
    let nearTiou = 0;
    let other = null;
    let otherTiou = 0;
    for (const action of video.truth) {
      const overlap = tiou(found.start, found.end, action.start, action.end);
      if (action.label === found.label) {
        if (overlap > nearTiou) [near, nearTiou] = [action, overlap];
        if (action.by === null && overlap >= limit && overlap > freeTiou) [free, freeTiou] = [action, overlap];
      } else if (overlap > otherTiou) [other, otherTiou] = [action, overlap];
    }
    if (free) {
      free.foundAt = found.score;
      free.by = found;
      Object.assign(found, { kind: "right", truth: free, tiou: freeTiou });
    } else if (nearTiou >= limit) Object.assign(found, { kind: "double", truth: near, tiou: nearTiou });
    else if (otherTiou > nearTiou && otherTiou >= 0.1) {
      Object.assign(found, { kind: otherTiou >= limit ? "label" : "confused", truth: other, tiou: otherTiou });
    } else if (nearTiou >= 0.1) Object.assign(found, { kind: "boundary", truth: near, tiou: nearTiou });
    else Object.assign(found, { kind: "background", truth: null, tiou: 0 });
  }
}

/** The columns of the data -> objects that the page works on. */
function readVideos(data) {
  return data.videos.map((raw, number) => {
    const rows = (columns) =>
      columns.start.map((start, index) => ({
        index,
        start,
        end: columns.end[index],
        label: columns.label[index],
        score: columns.score ? columns.score[index] : null,
      }));
    const truth = raw.truth ? rows(raw.truth) : [];
    const found = rows(raw.found);
    const last = Math.max(0, ...truth.map((a) => a.end), ...found.map((f) => f.end));
    return {
      number,
      id: raw.id,
      src: raw.src,
      hasTruth: raw.truth !== null,
      duration: Math.max(raw.duration || 0, last) || 1,
      truth,
      found,
    };
  });
}

class Result {
  constructor(data) {
    this.data = data;
    this.videos = readVideos(data);
    this.hasTruth = this.videos.some((video) => video.hasTruth);
    this.counts = new Counts(this);
    this.matched = 0;
  }

  match(limit) {
    for (const video of this.videos) matchVideo(video, limit);
    this.counts.forget();
    this.matched += 1;
  }

  /** The score a detection of a class needs. */
  threshold(state, label) {
    const own = this.data.thresholds;
    return state.ownThresholds && own ? own[label] : state.threshold;
  }

  isShown(state, found) {
    return found.score >= this.threshold(state, found.label);
  }

  isMissed(state, video, action) {
    return video.hasTruth && !(action.foundAt >= 0 && action.foundAt >= this.threshold(state, action.label));
  }

  /** Wrong detections and missed actions of a video, by time. */
  errors(state, video) {
    if (!video.hasTruth) return [];
    const wanted = (item) => state.label < 0 || item.label === state.label;
    const wrong = video.found.filter((f) => wanted(f) && f.kind !== "right" && this.isShown(state, f));
    const missed = video.truth.filter((a) => wanted(a) && this.isMissed(state, video, a));
    return [...wrong, ...missed].sort((a, b) => a.start - b.start || a.end - b.end);
  }
}

function rates(count) {
  const precision = count.right / (count.right + count.wrong);
  const recall = (count.actions - count.missed) / count.actions;
  return { precision, recall, f1: (2 * count.right) / (count.right + count.wrong + count.actions) };
}
