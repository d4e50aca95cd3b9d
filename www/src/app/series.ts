// The pictures of one run, to go back and forth between.
import { element } from "./elements.ts";
import type { FinishedPicture } from "./finished.ts";
import { button, make } from "./make.ts";

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
  const alt = `Picture ${list.childElementCount + 1}, seed ${seed}`;
  const press = () => {
    choose(chip);
    show();
  };
  const chip = button("", press, { className: "" });
  chip.append(make("img", { src: URL.createObjectURL(png), alt }));
  list.append(make("li", {}, chip));
  choose(chip);
}

function choose(chosen: HTMLButtonElement): void {
  for (const other of list.querySelectorAll("button")) other.ariaPressed = String(other === chosen);
}
