// The list of videos, with what is right and wrong in each.

const ORDERS = {
  errors: ["Most errors first", (a, b) => b.errors - a.errors || a.video.number - b.video.number],
  file: ["As in the file", (a, b) => a.video.number - b.video.number],
  name: ["By name", (a, b) => a.video.id.localeCompare(b.video.id, undefined, { numeric: true })],
  long: ["Longest first", (a, b) => b.video.duration - a.video.duration],
};
const MOST_LISTED = 300;

class VideoList {
  constructor(result, onPick) {
    this.result = result;
    this.onPick = onPick;
    this.filter = byId("video-filter");
    this.order = byId("video-order");
    for (const [name, [text]] of Object.entries(ORDERS)) {
      if (name === "errors" && !result.hasTruth) continue;
      this.order.append(el("option", { value: name }, text));
    }
    this.order.value = "file";
    this.rows = new Map();
    for (const name of ["input", "change"]) {
      this.filter.addEventListener(name, () => this.render(this.state));
      this.order.addEventListener(name, () => this.render(this.state));
    }
  }

  render(state) {
    this.state = state;
    const wanted = this.filter.value.trim().toLowerCase();
    const entries = this.result.videos
      .filter((video) => !wanted || video.id.toLowerCase().includes(wanted))
      .map((video) => ({ video, ...this.result.counts.video(state, video.number) }))
      .sort(ORDERS[this.order.value][1]);
    this.shown = entries.map((entry) => entry.video);
    const rows = entries.slice(0, MOST_LISTED).map((entry) => this.row(entry));
    if (entries.length > MOST_LISTED) {
      rows.push(el("li", { class: "muted" }, `${entries.length - MOST_LISTED} more: narrow the search`));
    }
    if (!entries.length) rows.push(el("li", { class: "muted" }, "No such video"));
    setChildren(byId("video-list"), rows);
  }

  /** A video's row: made once, then only its figures change. */
  row({ video, errors, found }) {
    if (!this.rows.has(video.number)) this.rows.set(video.number, this.makeRow(video));
    const { line, button, badge, meta } = this.rows.get(video.number);
    const parts = [clock(video.duration, 0)];
    if (video.hasTruth) parts.push(`${video.truth.length} true`);
    parts.push(`${found} found`);
    setText(meta, parts.join(" · "));
    if (badge && setText(badge, errors ? `✕ ${errors}` : "✓")) {
      badge.className = `badge ${errors ? "bad" : "good"}`;
      badge.setAttribute("aria-label", errors ? `${errors} errors` : "no errors");
    }
    const current = video.number === this.state.video;
    if (current !== button.hasAttribute("aria-current")) button.toggleAttribute("aria-current", current);
    if (current) button.setAttribute("aria-current", "true");
    return line;
  }

  makeRow(video) {
    const badge = video.hasTruth ? el("span", { class: "badge" }) : null;
    const meta = el("span", { class: "muted meta" });
    const name = el("span", { class: "vid" }, video.id);
    const button = el("button", { type: "button", onclick: () => this.onPick(video.number) }, name, badge, meta);
    return { line: el("li", {}, button), button, badge, meta };
  }

  /** The number of the video that stands `by` places after the current one in the list. */
  neighbour(by) {
    const at = this.shown.findIndex((video) => video.number === this.state.video);
    const next = this.shown[Math.min(this.shown.length - 1, Math.max(0, at + by))];
    return next ? next.number : this.state.video;
  }
}
