// The pictures of one run, to go back and forth between.
import { element } from "./elements.ts";
import type { FinishedPicture } from "./finished.ts";

const list = element("series", HTMLUListElement);

/** Makes the row of pictures ready for a run; one picture alone needs no row. */
export function beginSeries(count: number): void {
  for (const image of list.querySelectorAll("img")) URL.revokeObjectURL(image.src);
  list.replaceChildren();
  list.hidden = count < 2;
}

/** Adds a finished picture; `show` is called when it is chosen. */
export function addToSeries({ png, params: { seed } }: FinishedPicture, show: () => void): void {
  if (list.hidden) return;
  const image = document.createElement("img");
  image.src = URL.createObjectURL(png);
  image.alt = `Picture ${list.childElementCount + 1}, seed ${seed}`;
  const button = document.createElement("button");
  button.type = "button";
  button.append(image);
  button.addEventListener("click", () => {
    choose(button);
    show();
  });
  const item = document.createElement("li");
  item.append(button);
  list.append(item);
  choose(button);
}

function choose(button: HTMLButtonElement): void {
  for (const other of list.querySelectorAll("button")) {
    other.setAttribute("aria-pressed", String(other === button));
  }
}
