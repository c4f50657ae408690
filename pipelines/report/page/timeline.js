// The timeline of one video: for each class a row of true actions and rows of detections.

const MIN_GAP_S = 0;
// Bars of a video; detections of lower scores are a shade, a column of pixels each.
const MOST_BARS = 600;

/** Rows in which nothing overlaps, first come first served; at most `most`, then the last row takes the rest. */
function stack(items, most) {
  const ends = [];
  return items.map((item) => {
    let row = ends.findIndex((end) => end + MIN_GAP_S <= item.start);
    if (row < 0) row = ends.length < most ? ends.length : most - 1;
    ends[row] = Math.max(ends[row] || 0, item.end);
    return [item, row];
  });
}

/** Shade the columns of pixels by how many detections cover them. */
function drawCrowd(canvas) {
  if (canvas.hidden) return;
  const [width, height] = [Math.max(1, Math.min(8192, canvas.clientWidth)), canvas.clientHeight];
  const steps = new Int32Array(width + 1);
  for (const { start, end } of canvas.items) {
    const column = (seconds) => Math.min(width - 1, Math.max(0, Math.floor((seconds / canvas.duration) * width)));
    steps[column(start)] += 1;
    steps[column(end) + 1] -= 1;
  }
  const cover = steps.slice(0, width);
  for (let x = 1; x < width; x += 1) cover[x] += cover[x - 1];
  const most = Math.log1p(cover.reduce((a, b) => Math.max(a, b), 1));
  Object.assign(canvas, { width, height });
  const paint = canvas.getContext("2d");
  paint.fillStyle = getComputedStyle(canvas).color;
  for (let x = 0; x < width; x += 1) {
    if (!cover[x]) continue;
    paint.globalAlpha = 0.15 + (0.85 * Math.log1p(cover[x])) / most;
    paint.fillRect(x, 0, 1, height);
  }
}

class Timeline {
  /** `on.seek(seconds)` and `on.select(item)` tell what the user clicked. */
  constructor(root, on) {
    this.root = root;
    this.on = on;
    this.scroller = el("div", { class: "tl-scroll", tabindex: -1 });
    this.canvas = el("div", { class: "tl-canvas" });
    this.scroller.append(this.canvas);
    root.replaceChildren(this.scroller);
    this.buttons = new Map();
    this.canvas.addEventListener("click", (event) => {
      if (event.target.closest("button")) return;
      if (event.target.closest(".tl-tracks, .tl-axis")) this.on.seek(this.secondsAt(event));
    });
    this.drag();
  }

  drag() {
    let active = false;
    this.canvas.addEventListener("pointerdown", (event) => {
      active = event.button === 0 && event.target.closest(".tl-axis") !== null;
      if (active) this.on.seek(this.secondsAt(event));
    });
    window.addEventListener("pointermove", (event) => {
      if (active) this.on.seek(this.secondsAt(event));
    });
    for (const name of ["pointerup", "pointercancel"]) window.addEventListener(name, () => (active = false));
  }

  secondsAt(event) {
    const box = this.axis.getBoundingClientRect();
    const part = (event.clientX - box.left) / box.width;
    return Math.min(1, Math.max(0, part)) * this.video.duration;
  }

  /** Draw what is on show; bars and rows that stand already are moved, not made. */
  render(result, video, state, time) {
    const same = this.video === video && this.matched === result.matched;
    if (!same) this.made = { bars: new Map(), rows: new Map() };
    if (!same || this.zoom !== state.zoom) {
      this.matched = result.matched;
      this.makeHead(video, state);
    }
    this.buttons.clear();
    const lanes = this.lanes(result, video, state).map((lane) => this.makeLane(result, video, state, lane));
    const empty = lanes.length
      ? null
      : el("p", { class: "tl-empty muted" }, this.emptyText());
    setChildren(this.canvas, [this.head, ...lanes, ...(empty ? [empty] : []), this.over]);
    for (const crowd of this.canvas.querySelectorAll("canvas")) drawCrowd(crowd);
    this.move(time);
    this.mark(state.selected, false);
  }

  /** The axis and the playhead, for a video and a zoom. */
  makeHead(video, state) {
    Object.assign(this, { video, zoom: state.zoom });
    this.canvas.style.setProperty("--zoom", String(state.zoom));
    this.axis = this.makeAxis(video, state);
    this.head = el("div", { class: "tl-row tl-head" }, el("div", { class: "tl-name" }), this.axis);
    this.playhead = el("div", { class: "tl-playhead", "aria-hidden": true });
    this.over = el("div", { class: "tl-over", "aria-hidden": true }, this.playhead);
  }

  emptyText() {
    return "Nothing at this threshold: lower it to see more.";
  }

  /** The room has changed: the next drawing needs another axis. */
  resized() {
    this.zoom = 0;
  }

  /** Classes that have something to show, in the order of the class list. */
  lanes(result, video, state) {
    const lanes = new Map();
    const lane = (label) => {
      if (!lanes.has(label)) lanes.set(label, { label, truth: [], found: [], crowd: [] });
      return lanes.get(label);
    };
    const wanted = (item) => state.label < 0 || item.label === state.label;
    for (const action of video.truth) {
      if (!wanted(action)) continue;
      if (!state.onlyErrors || result.isMissed(state, video, action)) lane(action.label).truth.push(action);
    }
    const shown = video.found.filter(
      (found) =>
        wanted(found) && result.isShown(state, found) && (!state.onlyErrors || (found.kind && found.kind !== "right")),
    );
    const least = shown.length > MOST_BARS ? Float64Array.from(shown, (f) => f.score).sort().at(-MOST_BARS) : -Infinity;
    for (const found of shown) {
      const bar = found.score >= least || found === state.selected;
      lane(found.label)[bar ? "found" : "crowd"].push(found);
    }
    return [...lanes.values()].sort((a, b) => a.label - b.label);
  }

  makeLane(result, video, state, lane) {
    const name = result.data.labels[lane.label];
    const byTime = (a, b) => a.start - b.start || b.score - a.score;
    const row = this.rowOf(video, lane.label, name);
    if (row.truth) setChildren(row.truth, lane.truth.map((a) => this.makeTruth(result, video, state, a, name)));
    const placed = stack([...lane.found].sort(byTime), 6);
    row.found.style.setProperty("--rows", String(Math.max(1, ...placed.map(([, place]) => place + 1))));
    setChildren(row.found, placed.map(([found, place]) => this.makeFound(video, found, place, name)));
    row.crowd.hidden = !lane.crowd.length;
    row.crowd.items = lane.crowd;
    row.crowd.duration = video.duration;
    if (lane.crowd.length) row.crowd.setAttribute("aria-label", `${lane.crowd.length} more of ${name}, with lower scores`);
    return row.line;
  }

  /** The row of a class: {line, truth (null: not annotated), found, crowd}. */
  rowOf(video, label, name) {
    if (!this.made.rows.has(label)) {
      const truth = video.hasTruth ? el("div", { class: "tl-track truth" }) : null;
      const found = el("div", { class: "tl-track found" });
      const crowd = el("canvas", { class: "tl-crowd", role: "img" });
      const line = el(
        "div",
        { class: "tl-row", style: { "--hue": hue(label) } },
        el("div", { class: "tl-name", title: name }, el("span", {}, name)),
        el("div", { class: "tl-tracks" }, truth, found, crowd),
      );
      this.made.rows.set(label, { line, truth, found, crowd });
    }
    return this.made.rows.get(label);
  }

  makeTruth(result, video, state, action, name) {
    const missed = result.isMissed(state, video, action);
    const what = `True action: ${name}, ${clock(action.start)} to ${clock(action.end)}, ${missed ? "missed" : "found"}`;
    return this.makeButton(video, action, `seg truth ${missed ? "missed" : "hit"}`, what, missed ? "○ missed" : "", 0);
  }

  makeFound(video, found, row, name) {
    const wrong = found.kind && found.kind !== "right";
    const verdict = found.kind ? `, ${KIND[found.kind]}` : "";
    const what = `Detection: ${name}, score ${found.score.toFixed(2)}, ${clock(found.start)} to ${clock(found.end)}${verdict}`;
    const sign = found.kind ? (wrong ? "✕ " : "✓ ") : "";
    const button = this.makeButton(
      video,
      found,
      `seg found ${found.kind ? (wrong ? "wrong" : "right") : ""}`,
      what,
      sign + found.score.toFixed(2),
      row,
    );
    button.style.setProperty("--score", String(found.score));
    return button;
  }

  makeButton(video, item, names, what, text, row) {
    const old = this.made.bars.get(item);
    if (old && old.names === names) {
      if (old.row !== row) old.button.style.setProperty("--row", String(row));
      old.row = row;
      this.buttons.set(item, old.button);
      return old.button;
    }
    const button = el(
      "button",
      {
        type: "button",
        class: names,
        tabindex: -1,
        "aria-label": what,
        title: what,
        style: {
          left: `${(100 * item.start) / video.duration}%`,
          width: `${(100 * Math.max(0, item.end - item.start)) / video.duration}%`,
          "--row": String(row),
        },
        onclick: () => this.on.select(item),
      },
      el("span", { "aria-hidden": true }, text),
    );
    this.made.bars.set(item, { button, names, row });
    this.buttons.set(item, button);
    return button;
  }

  makeAxis(video, state) {
    const axis = el("div", {
      class: "tl-axis",
      role: "slider",
      tabindex: 0,
      "aria-label": "Position in the video",
      "aria-valuemin": 0,
      "aria-valuemax": video.duration.toFixed(2),
    });
    axis.append(...this.makeTicks(video, state, 0, video.duration));
    return axis;
  }

  /** Marks of the axis from one moment to another, at steps that leave room for their text. */
  makeTicks(video, state, from, to) {
    const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];
    const width = Math.max(240, this.root.clientWidth - 130) * state.zoom;
    const step = steps.find((s) => (s / video.duration) * width >= 64) || steps.at(-1);
    const ticks = [];
    for (let number = Math.max(0, Math.ceil(from / step)); number * step <= to + 1e-9; number += 1) {
      const share = (100 * number * step) / video.duration;
      const place = share > 97 ? " last" : "";
      const text = clock(number * step, step < 1 ? 1 : 0);
      ticks.push(el("span", { class: "tick" + place, style: { left: `${share}%` }, "aria-hidden": true }, text));
    }
    return ticks;
  }

  /** Put the playhead at a moment. */
  move(time, follow = false) {
    if (!this.video) return;
    const share = Math.min(1, time / this.video.duration);
    this.playhead.style.left = `${100 * share}%`;
    this.axis.setAttribute("aria-valuenow", time.toFixed(2));
    this.axis.setAttribute("aria-valuetext", clock(time));
    if (follow) this.reveal(share);
  }

  /** Scroll so that a share of the duration is in sight. */
  reveal(share) {
    const name = this.canvas.querySelector(".tl-name").offsetWidth;
    const at = share * this.axis.offsetWidth;
    const room = this.scroller.clientWidth - name;
    if (at < this.scroller.scrollLeft || at > this.scroller.scrollLeft + room - 8) {
      this.scroller.scrollLeft = Math.max(0, at - room / 4);
    }
  }

  has(item) {
    return this.buttons.has(item);
  }

  /** Make one bar the selected one, and bring it into sight. */
  mark(item, reveal = true) {
    const bar = this.buttons.get(item);
    if (this.marked) {
      this.marked.classList.remove("selected");
      this.marked.removeAttribute("aria-current");
    }
    if (this.stop) this.stop.tabIndex = -1;
    this.stop = bar || this.buttons.values().next().value; // where the Tab key goes
    if (this.stop) this.stop.tabIndex = 0;
    this.marked = bar;
    if (!bar) return;
    bar.classList.add("selected");
    bar.setAttribute("aria-current", "true");
    if (!reveal) return;
    this.reveal(item.start / this.video.duration);
    this.revealRow(bar);
    const box = bar.getBoundingClientRect();
    if (box.top < 60 || box.bottom > window.innerHeight) byId("screen").scrollIntoView({ block: "start" });
  }

  /** Scroll the timeline, not the page, so that a bar is in sight. */
  revealRow(button) {
    const [box, view] = [button.getBoundingClientRect(), this.scroller.getBoundingClientRect()];
    const top = view.top + this.axis.offsetHeight;
    if (box.top < top) this.scroller.scrollTop -= top - box.top + 8;
    else if (box.bottom > view.bottom) this.scroller.scrollTop += box.bottom - view.bottom + 8;
  }

  /** Everything on show, by time: for stepping through with the keyboard. */
  items() {
    return [...this.buttons.keys()].sort((a, b) => a.start - b.start || a.end - b.end);
  }
}
