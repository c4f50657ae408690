// The classes to choose from, and new ones.

/** Have the lists of classes hold all that are known; others may come from another tab or program. */
function showClasses() {
  const [chooser, filter] = [byId("label"), byId("label-filter")];
  for (let number = chooser.options.length; number < data.labels.length; number += 1) {
    const name = data.labels[number];
    chooser.append(option(number, number < 9 ? `${number + 1} ${name}` : name));
    filter.append(option(number, name));
  }
}

function askNewClass() {
  if (!canEdit()) return;
  const selected = state.mark === null && state.selected;
  byId("new-class-hint").textContent = selected ? "The selected segment gets it." : "The next new segments have it.";
  byId("new-class-name").value = "";
  byId("new-class-error").textContent = "";
  byId("new-class-dialog").showModal();
}

/** Add the class that was typed, in the file at once; what is wrong with it is said in the dialog. */
async function addNewClass(event) {
  event.preventDefault();
  const name = byId("new-class-name");
  const { labels, error } = await saver.addLabel(name.value);
  if (error) {
    byId("new-class-error").textContent = `Not added: ${error}.`;
    name.focus();
    return;
  }
  board.learnLabels(labels);
  byId("new-class-dialog").close();
  setLabel(data.labels.indexOf(labels.at(-1)));
  if (state.mark !== null || !state.selected) say(`“${labels.at(-1)}” is a class now, and that of the next segment.`);
}

function wireNewClass() {
  byId("new-class-form").addEventListener("submit", addNewClass);
  byId("new-class-cancel").addEventListener("click", () => byId("new-class-dialog").close());
}
