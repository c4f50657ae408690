// All videos of a review, in the form that the report's timeline and list know.

class Board {
  constructor(data) {
    this.data = data;
    this.numbers = new Map(data.labels.map((label, number) => [label, number]));
    this.hasTruth = false; // the list has no errors to sort by
    this.matched = 0;
    this.videos = data.videos.map((raw, number) => this.read(raw, number));
    this.counts = { video: (state, number) => ({ errors: 0, found: this.count(state, this.videos[number]) }) };
  }

  numberOf(label) {
    if (!this.numbers.has(label)) {
      // another tab or program put a class into the file
      this.numbers.set(label, this.data.labels.length);
      this.data.labels.push(label);
    }
    return this.numbers.get(label);
  }

  learnLabels(labels) {
    for (const label of labels) this.numberOf(label);
  }

  read(raw, number) {
    const detections = raw.found.map(([label, start, end, score]) => ({
      kind: "open",
      label: this.numberOf(label),
      start,
      end,
      score,
      original: null,
      time: "",
    }));
    const { id, src, file, lastEnd } = raw;
    const video = { number, id, src, file, lastEnd, hasTruth: true, detections, times: null };
    this.adopt(video, raw.document);
    return video;
  }

  /** Take a document as the server has it. */
  adopt(video, wire) {
    video.wire = wire; // subset, fps and samples, which are not edited here
    video.version = wire.version;
    this.show(video, fromWire(wire, (label) => this.numberOf(label)));
  }

  /** Put a document in the place of the video's. */
  show(video, doc) {
    video.doc = doc;
    const judged = new Set(doc.items.map(judgedKey));
    video.truth = doc.items.filter((item) => item.kind !== "rejected");
    video.found = [
      ...video.detections.filter((found) => !judged.has(keyOf(found))),
      ...doc.items.filter((item) => item.kind === "rejected"),
    ];
    const spans = [...doc.reviewed, ...video.wire.sampled.map(({ segment }) => segment)];
    const last = Math.max(video.lastEnd, 0, ...doc.items.map((item) => item.end), ...spans.map(([, end]) => end));
    video.duration = Math.max(video.ends || video.wire.duration || 0, last) || 1;
    this.matched += 1; // the timeline draws anew
  }

  /** The item of a video that stands where another one stood before an undo, say. */
  same(video, item) {
    if (!item) return null;
    const alike = (other) => other.start === item.start && other.end === item.end && other.label === item.label;
    return [...video.truth, ...video.found].find(alike) || null;
  }

  isShown(state, found) {
    return found.kind === "rejected" ? state.rejected : found.score >= state.threshold;
  }

  isMissed() {
    return false;
  }

  /** Detections on show that wait for a judgement, by time: none where all was looked at, as after another model. */
  open(state, video) {
    return video.found
      .filter((item) => item.kind === "open" && this.isShown(state, item) && (state.label < 0 || item.label === state.label))
      .filter((item) => !this.isSeen(video, [item.start, Math.min(item.end, video.duration)]))
      .sort((a, b) => a.start - b.start || a.end - b.end);
  }

  /** How many wait, counted anew only where that can have changed: a list can have thousands of videos. */
  count(state, video) {
    const { threshold, label } = state;
    const old = video.counted;
    if (!old || old.doc !== video.doc || old.threshold !== threshold || old.label !== label) {
      video.counted = { doc: video.doc, threshold, label, open: this.open(state, video).length };
    }
    return video.counted.open;
  }

  isReviewed(video) {
    return this.isSeen(video, [0, video.duration]);
  }

  /** Whether a stretch was looked at in full. */
  isSeen(video, [start, end]) {
    return video.doc.reviewed.some((span) => span[0] <= start + 1e-3 && span[1] >= end - 1e-3);
  }

  /** Stretches that were drawn by chance and are still to be looked at, by time. */
  drawn(video) {
    const spans = video.wire.sampled.map(({ segment }) => segment);
    return spans.filter((span) => !this.isSeen(video, span)).sort((a, b) => a[0] - b[0]);
  }

  /** The whole file as it would be saved, for a download. */
  file() {
    const touched = (video) => video.doc.items.length || video.doc.reviewed.length || video.wire.sampled.length;
    const entry = (video) => ({
      subset: video.wire.subset,
      duration: video.duration,
      ...(video.wire.fps ? { fps: video.wire.fps } : {}),
      ...toWire(video.doc, this.data.labels),
      sampled: video.wire.sampled,
    });
    const leaf = (name, number) => ({ nodeId: number + 1, nodeName: name, parentId: 0, parentName: "Root" });
    const taxonomy = [
      ...this.data.labels.map(leaf),
      { nodeId: 0, nodeName: "Root", parentId: null, parentName: null },
    ];
    return {
      version: this.data.format,
      taxonomy,
      database: Object.fromEntries(this.videos.filter(touched).map((video) => [video.id, entry(video)])),
    };
  }
}
