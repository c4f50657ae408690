// How many are right, wrong and missed at a threshold, without a walk through all detections.
//
// Each number is "how many of a sorted list reach the cut": the lists are made once for a tIoU, a class filter and a
// kind of threshold, and a move of the slider is then a binary search in each. With calibrated thresholds a level
// is the score above that of the class, and the cut is 0.

/** How many of `levels`, sorted upwards, are at least `cut`. */
function reaching(levels, cut) {
  let low = 0;
  let high = levels.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (levels[middle] >= cut) high = middle;
    else low = middle + 1;
  }
  return levels.length - low;
}

/** Lists that grow by `add` and are sorted when first asked. */
class Levels {
  constructor() {
    this.values = [];
    this.sorted = null;
  }

  add(level) {
    this.values.push(level);
  }

  count(cut) {
    if (this.sorted === null) {
      this.sorted = Float64Array.from(this.values).sort();
      this.values = null;
    }
    return reaching(this.sorted, cut);
  }
}

class Counts {
  constructor(result) {
    this.result = result;
    this.forget();
  }

  /** The matching has changed. */
  forget() {
    this.classes = this.videos = this.classKey = this.videoKey = null;
  }

  level(state, label, score) {
    const own = this.result.data.thresholds;
    return state.ownThresholds && own ? score - own[label] : score;
  }

  cut(state) {
    return state.ownThresholds && this.result.data.thresholds ? 0 : state.threshold;
  }

  /** label -> lists of levels: {found, actions, hit, <kind>: …} */
  ofClasses(state) {
    const key = String(state.ownThresholds);
    if (this.classKey === key) return this.classes;
    this.classKey = key;
    this.classes = new Map();
    const entry = (label) => {
      if (!this.classes.has(label)) {
        const kinds = Object.fromEntries(Object.keys(KIND).map((kind) => [kind, new Levels()]));
        this.classes.set(label, { ...kinds, found: new Levels(), hit: new Levels(), actions: 0 });
      }
      return this.classes.get(label);
    };
    for (const video of this.result.videos) {
      for (const { label, score, kind } of video.found) {
        const level = this.level(state, label, score);
        const lists = entry(label);
        lists.found.add(level);
        if (kind) lists[kind].add(level);
      }
      for (const { label, foundAt } of video.truth) {
        const lists = entry(label);
        lists.actions += 1;
        if (foundAt >= 0) lists.hit.add(this.level(state, label, foundAt));
      }
    }
    return this.classes;
  }

  /** By number: lists of levels {found, wrong, hit}; wrong and hit of the class chosen. */
  ofVideos(state) {
    const key = `${state.ownThresholds} ${state.label}`;
    if (this.videoKey === key) return this.videos;
    this.videoKey = key;
    const wanted = (item) => state.label < 0 || item.label === state.label;
    this.videos = this.result.videos.map((video) => {
      const lists = { found: new Levels(), wrong: new Levels(), hit: new Levels(), actions: 0 };
      for (const found of video.found) {
        const level = this.level(state, found.label, found.score);
        lists.found.add(level);
        if (video.hasTruth && found.kind !== "right" && wanted(found)) lists.wrong.add(level);
      }
      for (const action of video.truth) {
        if (!wanted(action)) continue;
        lists.actions += 1;
        if (action.foundAt >= 0) lists.hit.add(this.level(state, action.label, action.foundAt));
      }
      return lists;
    });
    return this.videos;
  }

  /** {found, errors} of a video: detections on show; wrong ones and missed actions of the class chosen. */
  video(state, number) {
    const lists = this.ofVideos(state)[number];
    const cut = this.cut(state);
    return { found: lists.found.count(cut), errors: lists.wrong.count(cut) + lists.actions - lists.hit.count(cut) };
  }

  /** label -> {right, wrong, missed, actions, found, kinds}; entry -1 is the total. */
  byClass(state) {
    const cut = this.cut(state);
    const total = { right: 0, wrong: 0, missed: 0, actions: 0, found: 0 };
    const by = new Map([[-1, total]]);
    for (const [label, lists] of this.ofClasses(state)) {
      const kinds = FALSE_KINDS.map((kind) => lists[kind].count(cut));
      const count = {
        right: lists.right.count(cut),
        wrong: kinds.reduce((a, b) => a + b, 0),
        missed: lists.actions - lists.hit.count(cut),
        actions: lists.actions,
        found: lists.found.count(cut),
        kinds,
      };
      if (!count.found && !count.actions) continue;
      by.set(label, count);
      for (const key of Object.keys(total)) total[key] += count[key];
    }
    return by;
  }

  /** The threshold with the highest F1 over all classes: the score of a right detection, rounded down. */
  bestThreshold() {
    const [right, wrong] = [[], []];
    let actions = 0;
    for (const video of this.result.videos) {
      if (!video.hasTruth) continue;
      actions += video.truth.length;
      for (const found of video.found) (found.kind === "right" ? right : wrong).push(found.score);
    }
    const [good, bad] = [Float64Array.from(right).sort(), Float64Array.from(wrong).sort()];
    let best = [0, 0.5];
    for (let place = good.length - 1; place >= 0; place -= 1) {
      const score = good[place];
      const hits = good.length - place;
      const f1 = (2 * hits) / (hits + reaching(bad, score) + actions);
      if (f1 > best[0]) best = [f1, score];
    }
    return Math.floor(best[1] * 100) / 100;
  }
}
