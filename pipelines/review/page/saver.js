// Saves every change at once. A version that is not the newest is refused by the server, and then its document
// is shown; without an answer the page is read-only until there is one.

const RETRY_MS = 2000;

class Saver {
  /** `on.state(kind, text)` tells what to show, `on.theirs(video, wire)` that somebody else was first. */
  constructor(board, token, on) {
    this.board = board;
    this.token = token;
    this.on = on;
    this.waiting = new Set();
    this.busy = false;
    this.lost = !token;
  }

  get unsaved() {
    return this.waiting.size > 0;
  }

  save(video) {
    this.waiting.add(video);
    this.told = false; // something that "Saved" must not hide
    this.run();
  }

  async run() {
    if (this.busy) return;
    this.busy = true;
    while (this.waiting.size) {
      if (!this.lost) this.on.state("busy", "Saving…");
      const [video] = this.waiting;
      const sent = video.doc;
      const answer = await this.send(video);
      if (!answer) {
        this.lose(true);
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
        continue;
      }
      this.lose(false);
      if (video.doc === sent || answer.stop) this.waiting.delete(video);
    }
    this.busy = false;
    if (!this.waiting.size && !this.told) this.on.state("saved", "Saved");
  }

  /** One request; null where there is no answer, or one that promises better luck later. */
  async send(video) {
    const text = this.text(video.doc);
    const body = `{"version":${video.version},"document":${text}}`;
    const headers = { "Content-Type": "application/json", "X-Longtal-Token": this.token };
    try {
      const answer = await fetch(`document/${video.number}`, { method: "POST", headers, body });
      if (answer.ok) {
        video.version = (await answer.json()).version;
        return {};
      }
      if (answer.status === 409) {
        const theirs = await answer.json();
        video.version = theirs.version;
        if (this.isSame(theirs, text)) return {}; // the answer to this very change was lost on its way
        this.told = true;
        this.on.theirs(video, theirs);
        return { stop: true };
      }
      if (answer.status === 400) {
        this.told = true;
        this.on.state("bad", `Not saved: ${(await answer.json()).error}. Undo it.`);
        return { stop: true };
      }
      this.why = answer.status === 507 ? (await answer.json()).error : "the server is another one now";
    } catch {
      this.why = "the server does not answer";
    }
    return null;
  }

  text(doc) {
    return JSON.stringify(toWire(doc, this.board.data.labels));
  }

  isSame(theirs, text) {
    return this.text(fromWire(theirs, (label) => this.board.numberOf(label))) === text;
  }

  lose(lost) {
    this.lost = lost;
    if (lost) this.on.state("bad", `Not saved: ${this.why}. Read-only until it does; Download keeps what you have.`);
  }

  /** What the server has for a video now, where that is newer; null otherwise. */
  async newer(video) {
    if (!this.token || this.waiting.has(video)) return null;
    try {
      const answer = await fetch(`document/${video.number}`);
      const theirs = answer.ok ? await answer.json() : null;
      return theirs && theirs.version > video.version && !this.waiting.has(video) ? theirs : null;
    } catch {
      return null; // saving will tell
    }
  }
}
