// The rows of choices that write to several fields at once: shapes and presets.
import type { ModelInfo } from "../../shared/protocol.ts";
import { type Choice, fillChoices } from "../chips.ts";
import { element } from "../elements.ts";
import { applyParams, fieldValue, onFormChange } from "../form.ts";
import { make } from "../make.ts";
import { PRESETS, presetsOf } from "./presets.ts";
import { SHAPES, type Shape, sizeOf } from "./sizes.ts";

const shapes = element("shapes", HTMLFieldSetElement);
const presets = element("presets", HTMLFieldSetElement);
const ICON_SIDE = 18;
let show = () => {};

/** Holds the place of the choices until a model says what they are. */
export function reserveSettings(): void {
  show = () => {};
  const shapeInputs = fillChoices(shapes, shapeChoices(), () => {});
  const presetInputs = fillChoices(
    presets,
    PRESETS.map((name) => ({ name })),
    () => {},
  );
  for (const input of [...shapeInputs, ...presetInputs]) input.disabled = true;
}

/** Offers what suits a model; the choice that the fields amount to is the one taken. */
export function offerSettings(info: ModelInfo): void {
  const sizes = SHAPES.map((shape) => sizeOf(shape, info));
  const shapeInputs = fillChoices(shapes, shapeChoices(), (at) => applyParams({ ...sizes[at] }));
  const efforts = presetsOf(info).map(({ name, ...params }) => ({ name, params }));
  const effortInputs = fillChoices(presets, efforts, (at) => applyParams({ ...efforts[at]?.params }));
  show = () => {
    check(shapeInputs, sizes);
    check(
      effortInputs,
      efforts.map(({ params }) => params),
    );
  };
  show();
}

/** Takes the first choice whose numbers are those of the fields, or none. */
function check(inputs: HTMLInputElement[], choices: Parameters<typeof applyParams>[0][]): void {
  const names = Object.keys(choices[0] ?? {}) as (
    | "width"
    | "height"
    | "steps"
    | "guidance_scale"
    | "sampler"
  )[];
  const taken = choices.findIndex((choice) =>
    names.every((name) => fieldValue(name) === String(choice[name])),
  );
  for (const [at, input] of inputs.entries()) input.checked = at === taken;
}

function shapeChoices(): Choice[] {
  return SHAPES.map((shape) => ({ name: shape.name, icon: iconOf(shape) }));
}

function iconOf({ width, height }: Shape): HTMLElement {
  const icon = make("span", { className: "ratio" });
  const scale = ICON_SIDE / Math.sqrt(width * height);
  icon.style.width = `${width * scale}px`;
  icon.style.height = `${height * scale}px`;
  return icon;
}

onFormChange(() => show());
