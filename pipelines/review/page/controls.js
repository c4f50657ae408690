// Buttons and keys; every action has both.

const ACTIONS = [
  ["Space", "play", "play or pause", () => player.toggle()],
  ["j", null, "next bar", () => stepItem(1)],
  ["k", null, "previous bar", () => stepItem(-1)],
  ["n", "next-open", "next detection to judge, over all videos", () => stepOpen(1)],
  ["p", "prev-open", "previous detection to judge", () => stepOpen(-1)],
  ["a", "accept", "accept the detection; again: not judged", () => judge("accept")],
  ["x", "reject", "reject it; again: not judged", () => judge("reject")],
  ["c", null, "choose the class", () => byId("label").focus()],
  ["C", "new-class", "add a class", () => askNewClass()],
  ["i", "begin", "a new segment begins here", () => beginSegment()],
  ["o", "end", "the new segment ends here", () => endSegment()],
  ["t", "split", "split at this moment", () => splitSelected()],
  ["d", "delete", "delete; a detection is rejected", () => removeSelected()],
  ["q", "start-back", "start a picture earlier", () => nudge("start", -1)],
  ["w", "start-on", "start a picture later", () => nudge("start", 1)],
  ["e", "end-back", "end a picture earlier", () => nudge("end", -1)],
  ["r", "end-on", "end a picture later", () => nudge("end", 1)],
  ["[", "start-here", "start at this moment", () => setEdge("start", player.pictureTime)],
  ["]", "end-here", "end at this moment", () => setEdge("end", player.pictureTime)],
  ["u", "undo", "undo", () => undo(-1)],
  ["U", "redo", "redo", () => undo(1)],
  ["m", "reviewed", "the whole video is looked at; again: not", () => markReviewed(currentVideo().duration)],
  ["M", "reviewed-here", "looked at up to here", () => markReviewed(player.time)],
  ["f", "next-doubt", "next stretch that is worth a look, by doubt (longtal review --next)", () => stepQueue()],
  ["g", "next-drawn", "next stretch drawn by chance", () => stepDrawn()],
  ["y", "drawn", "this stretch is looked at", () => markStretch()],
  [",", "frame-back", "a picture back", () => player.step(-1)],
  [".", "frame-on", "a picture on", () => player.step(1)],
  ["←", null, "one second back", () => player.seek(player.time - 1)],
  ["→", null, "one second on", () => player.seek(player.time + 1)],
  ["l", "loop", "loop the selected segment, else the drawn stretch", () => toggleLoop()],
  ["<", null, "slower", () => setRate(-1)],
  [">", null, "faster", () => setRate(1)],
  ["v", null, "next video", () => openVideo(list.neighbour(1))],
  ["b", null, "video before", () => openVideo(list.neighbour(-1))],
  ["+", "zoom-in", "zoom in", () => zoom(1)],
  ["−", "zoom-out", "zoom out", () => zoom(-1)],
  ["Esc", null, "leave the new segment, or the selection", () => leave()],
  ["?", "keys-button", "this list", () => byId("keys").showModal()],
];
const SAME_KEY = {
  " ": "Space",
  ArrowLeft: "←",
  ArrowRight: "→",
  "-": "−",
  "=": "+",
  Delete: "d",
  Backspace: "d",
  Escape: "Esc",
};

function onKey(event) {
  if (event.altKey || document.querySelector("dialog[open]")) return;
  const target = event.target;
  let key = SAME_KEY[event.key] || event.key;
  if (event.ctrlKey || event.metaKey) {
    key = { z: "u", Z: "U", y: "U" }[event.key];
    if (!key) return;
  }
  if (target.matches("select") && ["Esc", "Enter"].includes(key)) target.blur();
  const typing = target.matches("input:not([type=range], [type=checkbox]), select, textarea");
  const own = { Space: "button, input, summary, video", "←": "input, video", "→": "input, video" }[key];
  if (typing || (own && target.matches(own))) return;
  if (/^[1-9]$/.test(key) && Number(key) <= data.labels.length) {
    setLabel(Number(key) - 1);
    return;
  }
  const action = ACTIONS.find(([name]) => name === key);
  if (!action || (!board.videos.length && key !== "?")) return;
  event.preventDefault();
  action[3]();
}

function removeSelected() {
  if (state.selected && state.selected.kind === "rejected") say("It is rejected already.");
  else onSelected("reject");
}

function toggleLoop() {
  state.loop = !state.loop;
  player.loop = () => (state.loop ? loopSpan() : null);
  if (state.loop && loopSpan()) player.seek(loopSpan().start);
  else if (state.loop) say("Select a bar, and it is what is looped.");
  showControls();
}

/** What a loop repeats: the selected segment, else the drawn stretch that was gone to. */
function loopSpan() {
  const [start, end] = state.stretch || [];
  return state.selected || (state.stretch && { start, end });
}

/** The next slower or faster speed, or one by its number. */
function setRate(by) {
  const at = RATES.indexOf(player.rate) + by;
  if (RATES[at]) player.setRate(RATES[at]);
  showControls();
}

function leave() {
  if (state.mark !== null) {
    state.mark = null;
    timeline.begun(null);
  } else state.selected = null;
  redraw(state.selected);
}

const THEMES = ["system", "light", "dark"];

function setTheme(name) {
  if (name === "system") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.setAttribute("data-theme", name);
  byId("theme-button").textContent = `Theme: ${name}`;
  byId("theme-button").dataset.theme = name;
  redraw(state.selected); // painted bars have the theme's colours
}

/** The corrections as a file, made in the page: also what could not be saved. */
function download() {
  const blob = new Blob([JSON.stringify(board.file(), null, 1)], { type: "application/json" });
  const link = el("a", { href: URL.createObjectURL(blob), download: data.file });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function option(value, text) {
  return el("option", { value }, text);
}

function wire() {
  for (const [key, id, what, act] of ACTIONS) {
    if (!id) continue;
    const button = byId(id);
    button.addEventListener("click", () => act());
    if (!button.title) button.title = `${what} (${key})`;
  }
  byId("label-filter").append(option(-1, "all classes"));
  showClasses();
  wireNewClass();
  byId("label").addEventListener("change", (event) => setLabel(Number(event.target.value)));
  byId("label-filter").addEventListener("change", (event) => set({ label: Number(event.target.value) }));
  byId("threshold").addEventListener("input", (event) => set({ threshold: Number(event.target.value) }));
  byId("show-rejected").addEventListener("change", (event) => set({ rejected: event.target.checked }));
  byId("rate").append(...RATES.map((rate) => option(rate, `${rate}×`)));
  byId("rate").addEventListener("change", (event) => player.setRate(Number(event.target.value)));
  byId("download").addEventListener("click", download);
  byId("theme-button").addEventListener("click", (event) => {
    setTheme(THEMES[(THEMES.indexOf(event.target.dataset.theme || "system") + 1) % THEMES.length]);
  });
  byId("keys-list").append(
    ...[...ACTIONS.map(([key, , what]) => [key, what]), ["1 … 9", "one of the first nine classes"]].flatMap(([key, what]) => [
      el("dt", {}, el("kbd", {}, key)),
      el("dd", {}, what),
    ]),
  );
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw(state.selected));
  document.addEventListener("keydown", onKey);
  window.addEventListener("beforeunload", (event) => saver.unsaved && event.preventDefault());
  document.addEventListener("visibilitychange", () => document.hidden || look());
  window.addEventListener("focus", () => look());
  let width = byId("timeline").clientWidth;
  new ResizeObserver(() => {
    const now = byId("timeline").clientWidth;
    if (Math.abs(now - width) < 40) return;
    width = now;
    timeline.resized();
    redraw(state.selected);
  }).observe(byId("timeline"));
}
