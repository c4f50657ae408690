// The report's timeline, with true actions above, detections that wait and rejected ones below, and edges to drag.

const KIND_SIGN = { open: "?", accepted: "✓", corrected: "✎", added: "+", rejected: "✕" };
const KIND_WORDS = {
  open: "detection, not judged",
  accepted: "accepted detection",
  corrected: "corrected detection",
  added: "added action",
  rejected: "rejected detection",
};

class ReviewTimeline extends Timeline {
  emptyText() {
    return "Nothing here yet: play, press i where an action begins and o where it ends.";
  }

  makeLane(result, video, state, lane) {
    const placed = stack([...lane.truth].sort((a, b) => a.start - b.start), 6);
    this.places = new Map(placed);
    const line = super.makeLane(result, video, state, lane);
    const rows = Math.max(1, ...placed.map(([, place]) => place + 1));
    this.made.rows.get(lane.label).truth.style.setProperty("--rows", String(rows));
    return line;
  }

  makeTruth(result, video, state, item, name) {
    return this.makeBar(video, item, this.places.get(item), name);
  }

  makeFound(video, item, row, name) {
    return this.makeBar(video, item, row, name);
  }

  makeBar(video, item, row, name) {
    const score = item.score === null ? "" : `, score ${item.score.toFixed(2)}`;
    const what = `${name}, ${KIND_WORDS[item.kind]}${score}, ${clock(item.start, 2)} to ${clock(item.end, 2)}`;
    const text = item.kind === "open" ? item.score.toFixed(2) : "";
    const bar = this.makeButton(video, item, `seg edit ${item.kind}`, what, `${KIND_SIGN[item.kind]} ${text}`, row);
    if (!bar.querySelector(".edge")) {
      bar.append(...["start", "end"].map((side) => el("span", { class: `edge ${side}`, "data-side": side, "aria-hidden": true })));
    }
    return bar;
  }

  /** The axis shows what was looked at, what was drawn to be looked at, and the new segment's start. */
  makeAxis(video, state) {
    const axis = super.makeAxis(video, state);
    const band = (kind, start, end, title) =>
      el("span", { class: `band ${kind}`, title, style: this.place(video, start, end), "aria-hidden": true });
    for (const { segment } of video.wire.sampled) axis.append(band("sampled", ...segment, "drawn to be looked at in full"));
    for (const span of video.doc.reviewed) axis.append(band("reviewed", ...span, "looked at in full"));
    this.beginning = band("begun", 0, 0, "new segment");
    axis.append(this.beginning);
    return axis;
  }

  place(video, start, end) {
    return { left: `${(100 * start) / video.duration}%`, width: `${(100 * (end - start)) / video.duration}%` };
  }

  /** Show from where a new segment is to run, up to a moment; null: none is begun. */
  begun(start, time) {
    this.beginning.hidden = start === null;
    if (start !== null) this.bar(this.beginning, start, Math.max(start, time));
  }

  /** Move a bar by hand, while it is dragged. */
  bar(node, start, end) {
    for (const [name, value] of Object.entries(this.place(this.video, start, end))) node.style.setProperty(name, value);
  }
}
