// Bars as a picture: where there are too many to be buttons.

const ROW_SHARE = 20 / 24; // of a row's height is the bar's

/** What the style sheet says of the colours of bars now. */
function paintColors(node) {
  const style = getComputedStyle(node);
  const value = (name) => style.getPropertyValue(name).trim();
  return { edge: value("--edge-l"), light: value("--bar-l"), strong: value("--bar-s"), muted: value("--muted") };
}

/** Paint bars from `from` to `to` seconds: true ones full, those that wait light, rejected ones as a line. */
function paintBars(sheet, { seen, rows, from, to, width, hue, colors }) {
  const height = rows * 24;
  if (sheet.width !== width || sheet.height !== height) Object.assign(sheet, { width, height });
  const pen = sheet.getContext("2d");
  pen.clearRect(0, 0, width, height);
  const scale = width / (to - from);
  const full = `hsl(${hue} 55% ${colors.edge})`;
  const light = `hsl(${hue} ${colors.strong} ${colors.light})`;
  const bar = 24 * ROW_SHARE;
  for (const [item, row] of seen) {
    const left = Math.floor((item.start - from) * scale);
    const wide = Math.max(1, Math.floor((item.end - from) * scale) - left - 1);
    const top = 24 * row + (24 - bar) / 2;
    if (item.kind === "rejected") {
      pen.fillStyle = colors.muted;
      pen.fillRect(left, top + bar / 2 - 1, wide, 2);
    } else {
      pen.fillStyle = full;
      pen.fillRect(left, top, wide, bar);
      if (item.kind === "open" && wide > 2) {
        pen.fillStyle = light;
        pen.fillRect(left + 1, top + 1, wide - 2, bar - 2);
      }
    }
  }
}
