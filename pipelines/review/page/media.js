// The report's player, with pictures by their own time stamps, a loop and a speed.

const RATES = [0.5, 0.75, 1, 1.5, 2];
// Browsers round times: so far behind its stamp a picture is surely on screen.
const INSIDE_S = 5e-4;

class ReviewPlayer extends Player {
  constructor(onTime) {
    super(onTime);
    this.rate = 1;
    this.loop = null; // () => {start, end} or null
    this.asked = null;
  }

  load(video) {
    this.asked = null;
    super.load(video);
    this.setRate(this.rate);
  }

  setRate(rate) {
    this.rate = rate;
    this.media.defaultPlaybackRate = rate;
    this.media.playbackRate = rate;
  }

  /** When pictures come, and the end: where edges can lie. */
  get stamps() {
    return this.video.times;
  }

  /** Number of the picture on screen at a moment. */
  pictureAt(seconds) {
    let [low, high] = [0, this.stamps.length - 1];
    while (low + 1 < high) {
      const middle = (low + high) >> 1;
      if (this.stamps[middle] <= seconds + 1e-6) low = middle;
      else high = middle;
    }
    return low;
  }

  /** The nearest moment at which a picture comes, or the end. */
  snap(seconds) {
    if (!this.stamps) return seconds;
    const at = this.pictureAt(seconds);
    const [before, after] = [this.stamps[at], this.stamps[at + 1]];
    return seconds - before <= after - seconds ? before : after;
  }

  /** When the picture on screen came. */
  get pictureTime() {
    return this.stamps ? this.stamps[this.pictureAt(this.time)] : this.time;
  }

  /** A stamp before (by = -1) or after (1) a moment. */
  beside(seconds, by) {
    if (!this.stamps) return Math.max(0, seconds + by / (this.video.wire.fps || 25));
    const at = this.pictureAt(seconds);
    if (by > 0) return this.stamps[Math.min(this.stamps.length - 1, at + 1)];
    return this.stamps[seconds > this.stamps[at] + 1e-6 ? at : Math.max(0, at - 1)];
  }

  /** Show the next picture or the one before. */
  step(by) {
    this.media.pause();
    const last = this.stamps ? this.stamps[this.stamps.length - 2] : Infinity;
    this.seek(Math.min(last, this.beside(this.pictureTime, by)));
  }

  /** What does not play gets a copy; a copy that does not play, and what has no server, is told. */
  fail() {
    const video = this.video;
    if (!this.media.getAttribute("src")) return;
    if (data.token && video.file && !video.copied && !this.local.has(video.id)) {
      this.clear();
      this.state();
      makeCopy(video);
    } else super.fail();
  }

  /** Show how far a copy is, 0 to 1, in the place of the video; null: nothing is under way. */
  progress(text, share) {
    this.clear();
    this.say(text);
    const bar = byId("no-video-progress");
    bar.hidden = share === null;
    bar.value = share || 0;
    byId("no-video-choose").hidden = share !== null;
  }

  seek(seconds) {
    this.time = Math.min(this.video.duration, Math.max(0, seconds));
    this.asked = this.time + INSIDE_S;
    if (this.live && this.media.readyState >= 1) this.media.currentTime = this.asked;
    this.onTime(this.time, this.playing);
  }

  tick() {
    if (!this.live || this.media.readyState < 1) return;
    const at = this.media.currentTime;
    if (this.asked === null || Math.abs(at - this.asked) > 1e-4) {
      this.asked = null;
      this.time = at;
    }
    const span = this.loop && this.playing ? this.loop() : null;
    if (span && (this.time >= span.end || this.time < span.start - 0.5)) this.seek(span.start);
    else this.onTime(this.time, this.playing);
  }
}

/** When the pictures of a video come, and its end, from the server; null where nobody knows. */
async function fetchTimes(video) {
  const answer = await fetch(`times/${video.number}`);
  if (answer.status === 422) throw new Error((await answer.json()).error);
  if (!answer.ok) return null;
  return new Float64Array(await answer.arrayBuffer());
}
