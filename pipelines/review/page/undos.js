// Undo and redo without limit, per video, for as long as the page is open.

class Undos {
  constructor() {
    this.stacks = new Map();
  }

  of(video) {
    if (!this.stacks.has(video.number)) this.stacks.set(video.number, { past: [], future: [] });
    return this.stacks.get(video.number);
  }

  /** Keep the document that is about to be replaced. */
  keep(video) {
    const stacks = this.of(video);
    stacks.past.push(video.doc);
    stacks.future = [];
  }

  /** The document to go back to (by = -1) or forward to (1); null where there is none. */
  step(video, by) {
    const { past, future } = this.of(video);
    const [from, to] = by < 0 ? [past, future] : [future, past];
    if (!from.length) return null;
    to.push(video.doc);
    return from.pop();
  }

  can(video, by) {
    const { past, future } = this.of(video);
    return (by < 0 ? past : future).length > 0;
  }
}
