// Undo and redo without limit, per video. The server keeps the changes, so that a reload has them again.

class Undos {
  constructor() {
    this.stacks = new Map();
  }

  of(video) {
    if (!this.stacks.has(video.number)) this.stacks.set(video.number, { past: [], future: [] });
    return this.stacks.get(video.number);
  }

  /** Keep a change that was made. */
  keep(video, change) {
    const stacks = this.of(video);
    stacks.past.push(change);
    stacks.future = [];
  }

  forget(video) {
    this.stacks.delete(video.number);
  }

  /** Take what the server has of a video. */
  adopt(video, past, future) {
    const last = this.of(video).past.at(-1);
    // another tab was first: what brings this one's document back is known to this page alone
    if (last && last.unsent) past.push(last);
    this.stacks.set(video.number, { past, future });
  }

  /** The change to make next in order to go back (by = -1) or forward (1); null where there is none. */
  next(video, by) {
    const { past, future } = this.of(video);
    const change = (by < 0 ? past : future).at(-1);
    return change ? (by < 0 ? turned(change) : change) : null;
  }

  /** Note that it was made. */
  step(video, by) {
    const { past, future } = this.of(video);
    const [from, to] = by < 0 ? [past, future] : [future, past];
    to.push({ ...from.pop(), unsent: false });
  }

  can(video, by) {
    return this.next(video, by) !== null;
  }
}
