// Listens to the element. Its errors have a stable `code` beside their sentence.
const image = document.querySelector("easel-image");
const note = document.getElementById("note");

image.addEventListener("step", ({ detail }) => {
  note.textContent = `Step ${detail.index} of ${detail.total}`;
});
image.addEventListener("generate", ({ detail }) => {
  note.textContent = `Seed ${detail.seed}`;
});
image.addEventListener("error", ({ detail }) => {
  note.textContent = `${detail.message} (${detail.code})`;
});
