// The video, or, where there is no file, a clock that can still be moved.

class Player {
  /** `onTime(seconds, playing)` is called while the time changes. */
  constructor(onTime) {
    this.onTime = onTime;
    this.media = byId("video");
    this.none = byId("no-video");
    this.time = 0;
    this.local = new Map();
    this.media.addEventListener("timeupdate", () => this.tick());
    this.media.addEventListener("seeking", () => this.tick());
    this.media.addEventListener("loadedmetadata", () => {
      if (Math.abs(this.media.currentTime - this.time) > 0.01) this.media.currentTime = this.time;
    });
    for (const name of ["play", "pause", "ended"]) this.media.addEventListener(name, () => this.state());
    this.media.addEventListener("error", () => this.fail());
    byId("video-file").addEventListener("change", (event) => this.choose(event.target.files[0]));
  }

  load(video) {
    this.video = video;
    this.time = 0;
    this.media.pause();
    const src = this.local.get(video.id) || video.src;
    if (src) {
      this.show(true);
      this.media.src = src;
      this.media.setAttribute("aria-label", `Video ${video.id}`);
    } else {
      this.clear();
      this.say("This report names no file for this video. Choose it here to watch it; nothing leaves your computer.");
    }
    this.state();
  }

  clear() {
    this.media.removeAttribute("src");
    this.media.load();
    this.show(false);
  }

  fail() {
    if (!this.media.getAttribute("src")) return;
    const file = decodeURIComponent(this.media.getAttribute("src").split("/").pop());
    const missing = this.media.error && this.media.error.code === 4;
    this.clear();
    this.say(
      missing
        ? `${file} was not found next to this page, or the browser cannot play its format. Serve the page with “longtal report … --serve”, or choose the file here.`
        : `${file} could not be played: ${this.media.error ? this.media.error.message : "unknown cause"}.`,
    );
    this.state();
  }

  say(text) {
    byId("no-video-text").textContent = text;
  }

  show(on) {
    this.media.hidden = !on;
    this.none.hidden = on;
    byId("screen").classList.toggle("empty", !on);
  }

  choose(file) {
    if (!file) return;
    const old = this.local.get(this.video.id);
    if (old) URL.revokeObjectURL(old);
    this.local.set(this.video.id, URL.createObjectURL(file));
    const time = this.time;
    this.load(this.video);
    this.seek(time);
  }

  get live() {
    return Boolean(this.media.getAttribute("src"));
  }

  get playing() {
    return this.live && !this.media.paused && !this.media.ended;
  }

  seek(seconds) {
    this.time = Math.min(this.video.duration, Math.max(0, seconds));
    if (this.live && this.media.readyState >= 1) this.media.currentTime = this.time;
    this.onTime(this.time, this.playing);
  }

  toggle() {
    if (!this.live) return;
    if (this.media.paused) this.media.play().catch(() => this.state());
    else this.media.pause();
  }

  tick() {
    if (!this.live || this.media.readyState < 1) return;
    this.time = this.media.currentTime;
    this.onTime(this.time, this.playing);
  }

  state() {
    const button = byId("play");
    button.textContent = this.playing ? "Pause" : "Play";
    button.disabled = !this.live;
    if (this.playing) this.frame();
  }

  frame() {
    if (!this.playing) return;
    this.tick();
    requestAnimationFrame(() => this.frame());
  }
}
