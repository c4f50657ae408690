// The report's timeline, with true actions above, detections that wait and rejected ones below, and edges to drag.

const KIND_SIGN = { open: "?", accepted: "✓", corrected: "✎", added: "+", rejected: "✕" };
const KIND_WORDS = {
  open: "detection, not judged",
  accepted: "accepted detection",
  corrected: "corrected detection",
  added: "added action",
  rejected: "rejected detection",
};

// So many bars in sight are buttons; where there are more all are painted, and the selected one alone is a button.
const MOST_BUTTONS = 250;
const MOST_ROWS = 6;

class ReviewTimeline extends Timeline {
  constructor(root, on) {
    super(root, on);
    this.scroller.addEventListener("scroll", () => requestAnimationFrame(() => this.scrolled()));
    this.canvas.addEventListener("click", (event) => this.clickPainted(event), true);
  }

  emptyText() {
    return "Nothing here yet: play, press i where an action begins and o where it ends.";
  }

  /** Draw what is in sight, and a little beside it; the rest is only laid out. */
  render(result, video, state, time) {
    const fresh = this.video !== video || this.duration !== video.duration;
    if (fresh) this.made = { bars: new Map(), rows: new Map() };
    if (fresh || this.zoom !== state.zoom) {
      this.duration = video.duration;
      this.makeHead(video, state);
      const lines = fresh ? [] : this.canvas.querySelectorAll(".tl-row:not(.tl-head)");
      setChildren(this.canvas, [this.head, ...lines, this.over]); // before it is measured
    }
    Object.assign(this, { result, state, sorted: null });
    this.laid = this.lanes(result, video, state).map((lane) => this.lay(lane));
    this.draw();
    this.move(time);
    this.mark(state.selected, false);
  }

  /** Classes that have something to show: true actions, and what waits or is rejected. */
  lanes(result, video, state) {
    const lanes = new Map();
    const put = (item, track) => {
      if (state.label >= 0 && item.label !== state.label) return;
      if (!lanes.has(item.label)) lanes.set(item.label, { label: item.label, truth: [], found: [] });
      lanes.get(item.label)[track].push(item);
    };
    for (const item of video.truth) put(item, "truth");
    for (const item of video.found) if (result.isShown(state, item)) put(item, "found");
    return [...lanes.values()].sort((a, b) => a.label - b.label);
  }

  /** A lane with the row of each item. */
  lay({ label, truth, found }) {
    const byTime = (a, b) => a.start - b.start || b.score - a.score;
    const track = (name, items) => {
      const placed = stack(items.sort(byTime), MOST_ROWS);
      return { name, placed, rows: Math.max(1, ...placed.map(([, row]) => row + 1)) };
    };
    return { label, tracks: [track("truth", truth), track("found", found)] };
  }

  /** What is scrolled to, in seconds, with half as much on both sides. */
  inSight() {
    const [width, room, left] = [this.axis.offsetWidth, this.scroller.clientWidth, this.scroller.scrollLeft];
    const seconds = (pixels) => (pixels / Math.max(1, width)) * this.duration;
    return [Math.max(0, seconds(left - room / 2)), Math.min(this.duration, seconds(left + 1.5 * room))];
  }

  draw() {
    const { video, state } = this;
    const [from, to] = (this.drawn = this.inSight());
    const inside = ([item]) => item.end >= from && item.start <= to;
    const seen = this.laid.map(({ label, tracks }) => ({
      label,
      tracks: tracks.map((track) => ({ ...track, seen: track.placed.filter(inside) })),
    }));
    const count = seen.reduce((sum, { tracks }) => sum + tracks[0].seen.length + tracks[1].seen.length, 0);
    const painted = count > MOST_BUTTONS;
    const colors = painted ? paintColors(this.root) : null;
    this.buttons.clear();
    const lines = seen.map(({ label, tracks }) => {
      const name = this.result.data.labels[label];
      const row = this.rowOf(video, label, name);
      for (const track of tracks) {
        const bars = track.placed.filter((entry) => entry[0] === state.selected || (!painted && inside(entry)));
        const buttons = bars.map(([item, place]) => this.makeBar(video, item, place, name));
        const sheet = painted ? [this.paint(row, track, label, colors)] : [];
        row[track.name].style.setProperty("--rows", String(track.rows));
        setChildren(row[track.name], [...sheet, ...buttons]);
      }
      row.crowd.hidden = true;
      return row.line;
    });
    if (!lines.length) lines.push(el("p", { class: "tl-empty muted" }, this.emptyText()));
    setChildren(this.canvas, [this.head, ...lines, this.over]);
    this.drawAxis(from, to);
    for (const item of this.made.bars.keys()) if (!this.buttons.has(item)) this.made.bars.delete(item);
  }

  /** A track's bars as a picture. */
  paint(row, { name, seen, rows }, label, colors) {
    row.sheets ??= {};
    const sheet = (row.sheets[name] ??= el("canvas", { class: "tl-paint", role: "img" }));
    sheet.setAttribute("aria-label", `${seen.length} bars: j and k step through them, zoom in to see them`);
    const [from, to] = this.drawn;
    for (const [key, value] of Object.entries(this.place(this.video, from, to))) sheet.style.setProperty(key, value);
    const width = Math.min(8192, ((to - from) / this.duration) * this.axis.offsetWidth);
    const look = [from, to, Math.ceil(width), rows, ...Object.values(colors)].join();
    const same = sheet.look === look && seen.length === sheet.seen.length;
    if (!same || seen.some(([item, place], n) => item !== sheet.seen[n][0] || place !== sheet.seen[n][1])) {
      paintBars(sheet, { seen, rows, from, to, width: Math.ceil(width), hue: hue(label), colors });
    }
    Object.assign(sheet, { seen, rows, look });
    return sheet;
  }

  /** A click on a painted bar selects it. */
  clickPainted(event) {
    if (!event.target.matches("canvas.tl-paint")) return;
    const sheet = event.target;
    const box = sheet.getBoundingClientRect();
    const place = Math.floor(((event.clientY - box.top) / box.height) * sheet.rows);
    const at = this.secondsAt(event);
    const slack = (3 / this.axis.offsetWidth) * this.duration; // pixels beside a thin one
    const away = ([item]) => Math.max(item.start - at, at - item.end, 0);
    const near = sheet.seen.filter((entry) => entry[1] === place && away(entry) <= slack);
    if (!near.length) return;
    event.stopPropagation();
    this.on.select(near.reduce((best, entry) => (away(entry) < away(best) ? entry : best))[0]);
  }

  /** Draw anew where what is in sight was not drawn. */
  scrolled() {
    if (!this.laid) return;
    const [from, to] = this.inSight();
    const edge = (to - from) / 8;
    if (from + edge >= this.drawn[0] && to - edge <= this.drawn[1]) return;
    this.draw();
    this.mark(this.state.selected, false);
  }

  /** Everything on show, by time, drawn or not. */
  items() {
    this.sorted ??= this.laid
      .flatMap(({ tracks }) => tracks.flatMap(({ placed }) => placed.map(([item]) => item)))
      .sort((a, b) => a.start - b.start || a.end - b.end);
    return this.sorted;
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

  makeTicks() {
    return []; // `drawAxis` makes those in sight
  }

  /** The axis shows what was looked at, what was drawn to be looked at, and the new segment's start. */
  drawAxis(from, to) {
    const { video, state } = this;
    const band = (kind, [start, end], title) =>
      el("span", { class: `band ${kind}`, title, style: this.place(video, start, end), "aria-hidden": true });
    this.beginning ??= band("begun", [0, 0], "new segment");
    this.axis.replaceChildren(
      ...super.makeTicks(video, state, from, to),
      ...video.wire.sampled.map(({ segment }) => band("sampled", segment, "drawn to be looked at in full")),
      ...video.doc.reviewed.map((span) => band("reviewed", span, "looked at in full")),
      this.beginning,
    );
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
