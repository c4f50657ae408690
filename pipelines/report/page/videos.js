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
    for (const name of ["input", "change"]) {
      this.filter.addEventListener(name, () => this.render(this.state));
      this.order.addEventListener(name, () => this.render(this.state));
    }
  }

  render(state) {
    this.state = state;
    const wanted = this.filter.value.trim().toLowerCase();
    const entries = this.result.videos
      .filter((video) => video.id.toLowerCase().includes(wanted))
      .map((video) => ({ video, errors: this.result.errors(state, video).length }))
      .sort(ORDERS[this.order.value][1]);
    this.shown = entries.map((entry) => entry.video);
    const rows = entries.slice(0, MOST_LISTED).map(({ video, errors }) => this.row(video, errors));
    if (entries.length > MOST_LISTED) {
      rows.push(el("li", { class: "muted" }, `${entries.length - MOST_LISTED} more: narrow the search`));
    }
    if (!entries.length) rows.push(el("li", { class: "muted" }, "No such video"));
    byId("video-list").replaceChildren(...rows);
  }

  row(video, errors) {
    const found = video.found.filter((f) => this.result.isShown(this.state, f)).length;
    const parts = [clock(video.duration, 0)];
    if (video.hasTruth) parts.push(`${video.truth.length} true`, `${found} found`);
    else parts.push(`${found} found`);
    const badge = video.hasTruth
      ? el("span", { class: `badge ${errors ? "bad" : "good"}` }, errors ? `✕ ${errors}` : "✓")
      : null;
    if (badge) badge.setAttribute("aria-label", errors ? `${errors} errors` : "no errors");
    return el(
      "li",
      {},
      el(
        "button",
        {
          type: "button",
          "aria-current": video.number === this.state.video ? "true" : null,
          onclick: () => this.onPick(video.number),
        },
        el("span", { class: "vid" }, video.id),
        badge,
        el("span", { class: "muted meta" }, parts.join(" · ")),
      ),
    );
  }

  /** The number of the video that stands `by` places after the current one in the list. */
  neighbour(by) {
    const at = this.shown.findIndex((video) => video.number === this.state.video);
    const next = this.shown[Math.min(this.shown.length - 1, Math.max(0, at + by))];
    return next ? next.number : this.state.video;
  }
}
