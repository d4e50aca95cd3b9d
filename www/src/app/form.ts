import type { GenerateParams, ModelInfo } from "../shared/protocol.ts";
import { element } from "./elements.ts";
import { recall, remember } from "./form_memory.ts";

/** Fields whose contents are kept for each model; the others are the same for all. */
const OF_MODEL: readonly string[] = ["steps", "guidance_scale", "sampler", "width", "height"];
const MAX_SEED = 2 ** 32;
const MOST_PICTURES = 8;

const fields = {
  prompt: element("prompt", HTMLTextAreaElement),
  negative_prompt: element("negative-prompt", HTMLTextAreaElement),
  steps: element("steps", HTMLInputElement),
  guidance_scale: element("guidance-scale", HTMLInputElement),
  sampler: element("sampler", HTMLSelectElement),
  seed: element("seed", HTMLInputElement),
  width: element("width", HTMLInputElement),
  height: element("height", HTMLInputElement),
  count: element("count", HTMLSelectElement),
};
export type Field = keyof typeof fields;
const lock = element("seed-lock", HTMLInputElement);
const advanced = element("advanced", HTMLDetailsElement);

/** Fields that the user has set; the others follow the model. */
let typed: Partial<Record<Field, string>> = {};
let defaults: Partial<Record<Field, string>> = {};
/** Whether a picture was made with the seed that the form shows. */
let seedUsed = false;
let model = "";
const listeners: (() => void)[] = [];
const additions: ((params: GenerateParams) => GenerateParams)[] = [];

const form = element("form", HTMLFormElement);
export const prompt = fields.prompt;

/** Calls `listener` whenever a field has another content, whoever wrote it. */
export function onFormChange(listener: () => void): void {
  listeners.push(listener);
}

/** Restores what was typed before, for this model. */
export function useModel(address: URL): void {
  model = address.href;
  const { typed: kept, state } = recall(model, isField);
  typed = kept;
  seedUsed = state.seedUsed;
  lock.checked = state.lock;
  advanced.open = state.advanced;
  if (!typed.seed) typed.seed = randomSeed();
  fill();
  persist();
}

/** Shows `text` in the place of a prompt, and takes it for one that is left empty; "" lets an empty prompt be empty. */
export function suggestPrompt(text: string): void {
  prompt.placeholder = text;
}

/** Keeps what is typed from now on. */
export function setUpForm(): void {
  fields.count.replaceChildren(
    ...Array.from({ length: MOST_PICTURES }, (_, at) => new Option(String(at + 1))),
  );
  for (const [name, field] of Object.entries(fields)) {
    field.addEventListener("input", () => setField(name as Field, field.value));
  }
  lock.addEventListener("change", persist);
  advanced.addEventListener("toggle", persist);
  element("dice", HTMLButtonElement).addEventListener("click", () => setField("seed", randomSeed()));
  element("swap", HTMLButtonElement).addEventListener("click", () =>
    applyParams({ width: fields.height.valueAsNumber, height: fields.width.valueAsNumber }),
  );
  element("reset", HTMLButtonElement).addEventListener("click", () => {
    typed = typedOf(false);
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
  changed();
}

/**
 * Writes what is given to the fields as if the user had typed it. Values that a field does not take are shown by Generate;
 * a sampler that the model lacks leaves the model's own.
 */
export function applyParams(params: Partial<GenerateParams>): void {
  for (const [name, value] of Object.entries(params)) {
    if (isField(name) && value !== undefined && !Number.isNaN(value)) typed[name] = String(value);
  }
  if (params.seed !== undefined) seedUsed = false;
  fill();
  persist();
}

/** Writes to a field as if the user had. */
export function setField(name: Field, value: string): void {
  // Writing a text that is there already would move the cursor.
  if (fields[name].value !== value) fields[name].value = value;
  typed[name] = value;
  if (name === "seed") seedUsed = false;
  persist();
}

/** What a field shows now. */
export function fieldValue(name: Field): string {
  return fields[name].value;
}

/**
 * What to draw; `undefined` when a field is not valid, which the browser then shows. A seed that has had its picture and
 * is not locked makes way for a new one, an empty prompt for what is suggested.
 */
export function readForm(): GenerateParams | undefined {
  // A field inside closed details cannot show its message.
  if (!form.checkValidity()) advanced.open ||= advanced.querySelector(":invalid") !== null;
  if (!form.reportValidity()) return undefined;
  if (prompt.value.trim() === "" && prompt.placeholder) setField("prompt", prompt.placeholder);
  if (seedUsed && !lock.checked) setField("seed", randomSeed());
  const { negative_prompt, steps, guidance_scale, sampler, seed, width, height } = fields;
  const params: GenerateParams = {
    prompt: prompt.value,
    negative_prompt: negative_prompt.value,
    steps: steps.valueAsNumber,
    guidance_scale: guidance_scale.valueAsNumber,
    sampler: sampler.value,
    seed: seed.valueAsNumber,
    width: width.valueAsNumber,
    height: height.valueAsNumber,
  };
  return additions.reduce((before, add) => add(before), params);
}

/** Lets `add` complete what `readForm` returns, with what is not in a field of the form. */
export function onReadForm(add: (params: GenerateParams) => GenerateParams): void {
  additions.push(add);
}

/** How many pictures to draw, each with the seed after the one before. */
export function pictureCount(): number {
  return Number(fields.count.value);
}

/** Notes that a picture was made with this seed; another one may stand in the form by now. */
export function noteUsedSeed(seed: number): void {
  seedUsed = fields.seed.valueAsNumber === seed;
  persist();
}

function randomSeed(): string {
  const [word = 0] = crypto.getRandomValues(new Uint32Array(1));
  return String(word % MAX_SEED);
}

function isField(name: string): name is Field {
  return Object.hasOwn(fields, name);
}

function fill(): void {
  for (const [name, field] of Object.entries(fields)) {
    const value = typed[name as Field] ?? defaults[name as Field];
    if (value !== undefined && field.value !== value) field.value = value;
  }
  // What another model's or an older list offered is nothing to choose here.
  if (fields.sampler.selectedIndex < 0 && defaults.sampler) fields.sampler.value = defaults.sampler;
  if (fields.count.selectedIndex < 0) fields.count.value = "1";
}

function typedOf(ofModel: boolean): Record<string, string> {
  return Object.fromEntries(Object.entries(typed).filter(([name]) => OF_MODEL.includes(name) === ofModel));
}

function persist(): void {
  remember(model, typedOf(false), typedOf(true), { seedUsed, lock: lock.checked, advanced: advanced.open });
  changed();
}

function changed(): void {
  for (const listener of listeners) listener();
}
