import type { GenerateParams, ModelInfo } from "../shared/protocol.ts";
import { element } from "./elements.ts";

const STORED = "easel.form";
const MAX_SEED = 2 ** 32;

const fields = {
  prompt: element("prompt", HTMLTextAreaElement),
  negative_prompt: element("negative-prompt", HTMLTextAreaElement),
  steps: element("steps", HTMLInputElement),
  guidance_scale: element("guidance-scale", HTMLInputElement),
  sampler: element("sampler", HTMLSelectElement),
  seed: element("seed", HTMLInputElement),
  width: element("width", HTMLInputElement),
  height: element("height", HTMLInputElement),
};
type Field = keyof typeof fields;
const lock = element("seed-lock", HTMLInputElement);
const advanced = element("advanced", HTMLDetailsElement);

/** Fields that the user has set; the others follow the model. */
let typed: Partial<Record<Field, string>> = {};
let defaults: Partial<Record<Field, string>> = {};

const form = element("form", HTMLFormElement);
export const prompt = fields.prompt;

/** Restores what was typed before, and keeps what is typed from now on. */
export function setUpForm(): void {
  restore();
  rollSeedUnlessLocked();
  for (const [name, field] of Object.entries(fields)) {
    field.addEventListener("input", () => {
      typed[name as Field] = field.value;
      persist();
    });
  }
  lock.addEventListener("change", persist);
  advanced.addEventListener("toggle", persist);
  element("dice", HTMLButtonElement).addEventListener("click", () => setField("seed", randomSeed()));
  element("swap", HTMLButtonElement).addEventListener("click", () => {
    const [width, height] = [fields.height.value, fields.width.value];
    setField("width", width);
    setField("height", height);
  });
  element("reset", HTMLButtonElement).addEventListener("click", () => {
    const { prompt, negative_prompt, seed } = typed;
    typed = Object.fromEntries(
      Object.entries({ prompt, negative_prompt, seed }).filter(([, value]) => value),
    );
    fill();
    persist();
  });
}

/** Takes a model's limits, and its defaults for what the user has not set. */
export function adoptModel(info: ModelInfo): void {
  fields.sampler.replaceChildren(...info.samplers.map(({ name, label }) => new Option(label, name)));
  for (const side of [fields.width, fields.height]) {
    side.step = side.min = String(info.factor);
  }
  const { sampler, steps, guidance_scale, width, height } = info;
  const own = { sampler, steps, guidance_scale, width, height };
  defaults = Object.fromEntries(Object.entries(own).map(([name, value]) => [name, String(value)]));
  fill();
}

/** Writes to a field as if the user had. */
export function setField(name: Field, value: string): void {
  fields[name].value = value;
  typed[name] = value;
  persist();
}

/** What to draw; `undefined` when a field is not valid, which the browser then shows. */
export function readForm(): GenerateParams | undefined {
  // A field inside closed details cannot show its message.
  if (!form.checkValidity()) advanced.open ||= advanced.querySelector(":invalid") !== null;
  if (!form.reportValidity()) return undefined;
  const { prompt, negative_prompt, steps, guidance_scale, sampler, seed, width, height } = fields;
  return {
    prompt: prompt.value,
    negative_prompt: negative_prompt.value,
    steps: steps.valueAsNumber,
    guidance_scale: guidance_scale.valueAsNumber,
    sampler: sampler.value,
    seed: seed.valueAsNumber,
    width: width.valueAsNumber,
    height: height.valueAsNumber,
  };
}

/** A new seed for a new picture, unless the user holds on to this one. */
export function rollSeedUnlessLocked(): void {
  if (!lock.checked) setField("seed", randomSeed());
}

function randomSeed(): string {
  const [word = 0] = crypto.getRandomValues(new Uint32Array(1));
  return String(word % MAX_SEED);
}

function fill(): void {
  for (const [name, field] of Object.entries(fields)) {
    const value = typed[name as Field] ?? defaults[name as Field];
    if (value !== undefined) field.value = value;
  }
  // A sampler of another model is none of this one's.
  if (fields.sampler.selectedIndex < 0 && defaults.sampler) fields.sampler.value = defaults.sampler;
}

function persist(): void {
  const state = { typed, lock: lock.checked, advanced: advanced.open };
  try {
    localStorage.setItem(STORED, JSON.stringify(state));
  } catch {
    // Without storage the form still works; it is only forgotten.
  }
}

function restore(): void {
  try {
    const state = JSON.parse(localStorage.getItem(STORED) ?? "{}");
    const entries = Object.entries(state.typed ?? {}).filter(
      ([name, value]) => name in fields && typeof value === "string",
    );
    typed = Object.fromEntries(entries);
    lock.checked = state.lock === true;
    advanced.open = state.advanced === true;
  } catch {
    typed = {};
  }
  fill();
}
