// Dragging the edges of the selected bar. What is dragged snaps to pictures; it counts when it is let go.

class EdgeDrag {
  /** `on.seek(seconds)` while it moves, `on.drop(item, {start, end})` when it is let go; `canEdit()` allows it. */
  constructor(timeline, player, on) {
    Object.assign(this, { timeline, player, on, active: null, dropped: false });
    const canvas = timeline.canvas;
    canvas.addEventListener("pointerdown", (event) => this.down(event), true);
    window.addEventListener("pointermove", (event) => this.active && this.move(event));
    window.addEventListener("pointerup", () => this.active && this.up(true));
    window.addEventListener("pointercancel", () => this.active && this.up(false));
    canvas.addEventListener("click", (event) => this.click(event), true);
  }

  down(event) {
    this.dropped = false;
    const edge = event.button === 0 ? event.target.closest(".edge") : null;
    const bar = edge && edge.closest(".seg");
    const item = bar && [...this.timeline.buttons].find(([, button]) => button === bar)[0];
    if (!item || !this.on.canEdit()) return;
    event.preventDefault();
    event.stopPropagation();
    this.active = { item, bar, side: edge.dataset.side, start: item.start, end: item.end, moved: false };
    bar.classList.add("dragged");
  }

  move(event) {
    const drag = this.active;
    const at = this.player.snap(this.timeline.secondsAt(event));
    const { start, end } = drag.item;
    // at least a picture long
    if (drag.side === "start") drag.start = Math.min(at, this.player.beside(end, -1));
    else drag.end = Math.max(at, this.player.beside(start, 1));
    drag.moved = true;
    this.timeline.bar(drag.bar, drag.start, drag.end);
    this.on.seek(drag[drag.side]);
  }

  up(keep) {
    const { item, bar, start, end, moved } = this.active;
    this.active = null;
    bar.classList.remove("dragged");
    this.dropped = moved;
    if (keep && moved) this.on.drop(item, { start, end });
    else this.timeline.bar(bar, item.start, item.end);
  }

  /** The click that follows a drag is none. */
  click(event) {
    if (!this.dropped) return;
    this.dropped = false;
    event.preventDefault();
    event.stopPropagation();
  }
}
