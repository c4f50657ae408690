// Saves every change at once. A version that is not the newest is refused by the server, and then its document
// is shown; without an answer the page is read-only until there is one.

const RETRY_MS = 2000;
// Of one request; a change takes some hundred.
const MOST_CHARACTERS = 1 << 20;
const MOST_STEPS = 100;

class Saver {
  /**
   * `on.state(kind, text)` tells what to show, `on.saved(video)` that nothing waits any more,
   * `on.theirs(video, wire)` that somebody else was first, `on.refused(video, why)` what the server says against
   * a change.
   */
  constructor(board, token, on) {
    this.board = board;
    this.token = token;
    this.on = on;
    this.waiting = new Map(); // video -> changes, each with the document after it
    this.busy = false;
    this.lost = !token;
  }

  get unsaved() {
    return this.waiting.size > 0;
  }

  /** Save a change: `step` is "do", "undo" or "redo", and the video's document is the one after it. */
  save(video, step, change) {
    const text = JSON.stringify({ step, ...changeToWire(change, this.board.data.labels) });
    if (!this.waiting.has(video)) this.waiting.set(video, []);
    this.waiting.get(video).push({ text, doc: video.doc });
    this.told = false; // something that "Saved" must not hide
    this.run();
  }

  async run() {
    if (this.busy) return;
    this.busy = true;
    while (this.waiting.size) {
      if (!this.lost) this.on.state("busy", "Saving…");
      const [[video, queue]] = this.waiting;
      const sent = this.first(queue);
      const answer = await this.send(video, sent);
      if (!answer) {
        this.lose(true);
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
        continue;
      }
      this.lose(false);
      queue.splice(0, answer.stop ? queue.length : sent.length);
      if (!queue.length) this.waiting.delete(video);
      if (answer.stop) await answer.stop();
      else if (!queue.length) this.on.saved(video);
    }
    this.busy = false;
    if (!this.told) this.on.state("saved", "Saved");
  }

  /** So many changes as one request may hold. */
  first(queue) {
    let [count, size] = [0, 0];
    while (count < queue.length && count < MOST_STEPS && (!count || size + queue[count].text.length < MOST_CHARACTERS)) {
      size += queue[count].text.length;
      count += 1;
    }
    return queue.slice(0, count);
  }

  /** One request; null where there is no answer, or one that promises better luck later. */
  async send(video, sent) {
    const body = `{"version":${video.version},"changes":[${sent.map(({ text }) => text).join(",")}]}`;
    try {
      const answer = await this.post(`document/${video.number}`, body);
      if (answer.ok) {
        video.version = (await answer.json()).version;
        return {};
      }
      if (answer.status === 409) {
        const theirs = await answer.json();
        this.board.learnLabels(theirs.labels);
        // the answer to this very request may have been lost on its way
        if (this.isSame(theirs, sent.at(-1).doc)) {
          video.version = theirs.version;
          return {};
        }
        this.told = true;
        return { stop: () => this.on.theirs(video, theirs) };
      }
      if (answer.status === 400) {
        const { error } = await answer.json();
        this.told = true;
        return { stop: () => this.on.refused(video, error) };
      }
      this.why = answer.status === 507 ? (await answer.json()).error : "the server is another one now";
    } catch {
      this.why = "the server does not answer";
    }
    return null;
  }

  post(place, body) {
    const headers = { "Content-Type": "application/json", "X-Longtal-Token": this.token };
    return fetch(place, { method: "POST", headers, body });
  }

  /** Add a class; {labels: all of them, the new one last} or {error}. */
  addLabel(label) {
    return this.write("labels", { label });
  }

  /** The server's answer to a request that writes; {error} says what is wrong. */
  async write(place, content) {
    try {
      const answer = await this.post(place, JSON.stringify(content));
      if (answer.ok || [400, 507].includes(answer.status)) return answer.json();
      return { error: "the server is another one now" };
    } catch {
      return { error: "the server does not answer" };
    }
  }

  /** What is worth a look, when all is saved that waits: {items, sampled, known, notes} or {error}. */
  async askNext() {
    while (this.unsaved && !this.lost) await new Promise((resolve) => setTimeout(resolve, 20));
    return this.write("next", {});
  }

  isSame(wire, doc) {
    return isNothing(changeBetween(this.read(wire), doc, valueOf));
  }

  read(wire) {
    return fromWire(wire, (label) => this.board.numberOf(label));
  }

  lose(lost) {
    this.lost = lost;
    if (lost) this.on.state("bad", `Not saved: ${this.why}. Read-only until it does; Download keeps what you have.`);
  }

  /** What the server has at `place`, of a video of which nothing waits to be saved; null otherwise. */
  async ask(place, video) {
    if (!this.token || this.waiting.has(video)) return null;
    try {
      const answer = await fetch(`${place}/${video.number}`);
      const content = answer.ok ? await answer.json() : null;
      return this.waiting.has(video) ? null : content;
    } catch {
      return null; // saving will tell
    }
  }

  /** What the server has for a video now, where that is newer; null otherwise. */
  async newer(video) {
    const theirs = await this.ask("document", video);
    if (theirs) this.board.learnLabels(theirs.labels);
    return theirs && theirs.version > video.version ? theirs : null;
  }
}
