// The report's list of videos, with what is left to judge in each.

class ReviewList extends VideoList {
  row({ video, found }) {
    if (!this.rows.has(video.number)) this.rows.set(video.number, this.makeRow(video));
    const { line, button, badge, meta } = this.rows.get(video.number);
    const parts = [`${video.truth.length} true`];
    if (video.detections.length) parts.push(`${found} to judge`);
    if (video.ends || video.wire.duration) parts.unshift(clock(video.duration, 0));
    setText(meta, parts.join(" · "));
    const reviewed = this.result.isReviewed(video);
    if (setText(badge, reviewed ? "✓ looked at" : "")) badge.className = "badge good";
    const current = video.number === this.state.video;
    if (current) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
    return line;
  }
}
