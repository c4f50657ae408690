// Copies of videos that browsers do not play, which the server makes and keeps.

const ASK_MS = 400;

async function statusOf(video, method = "GET") {
  const answer = await (method === "POST" ? saver.post(`copy/${video.number}`, "{}") : fetch(`status/${video.number}`));
  if (answer.ok || answer.status === 422) return answer.json();
  return { error: `the server answers ${answer.status}` };
}

/** Have a copy made, show how far it is, then play it. */
async function makeCopy(video) {
  if (video.copying) return;
  video.copying = true;
  const show = (text, share) => video === currentVideo() && player.progress(text, share);
  try {
    let status = await statusOf(video, "POST");
    while (["none", "waiting", "making"].includes(status.state) && !status.error) {
      const share = Math.round(100 * status.done);
      const far = status.state === "making" ? `${share} % of it is made` : "it waits for another one";
      show(`Browsers do not play this file. A copy with the same time stamps is made, once: ${far}.`, status.done);
      await new Promise((resolve) => setTimeout(resolve, ASK_MS));
      status = await statusOf(video);
    }
    if (status.error) show(`This video cannot be shown: ${status.error}`, null);
    else play(video);
  } catch {
    show("This video cannot be shown: the server does not answer. Open it again later.", null);
  }
  video.copying = false;
}

function play(video) {
  video.src = `copy/${video.number}`;
  video.copied = true;
  if (video !== currentVideo()) return;
  const time = player.time;
  player.load(video);
  player.seek(time);
}

/** A name may promise what the file does not hold: MPEG-4 in .mp4, say, of which browsers play the sound. */
async function checkPlays(video) {
  const status = await statusOf(video).catch(() => ({ plays: true }));
  if (status.plays === false) makeCopy(video);
}
