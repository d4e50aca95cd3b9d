// How a picture was made, for people to read. Texts may come from anybody's files: they are texts here, each by itself, so
// that marks of writing direction in one do not turn others around.
import { infotextSampler } from "../shared/sampler_names.ts";
import type { Settings } from "../shared/settings.ts";
import { make } from "./make.ts";

const LABELS: [keyof Settings, string][] = [
  ["prompt", "Prompt"],
  ["negative_prompt", "Negative prompt"],
  ["model", "Model"],
  ["steps", "Steps"],
  ["sampler", "Sampler"],
  ["guidance_scale", "Guidance"],
  ["seed", "Seed"],
  ["strength", "Strength"],
];

type Samplers = readonly { name: string; label: string }[];

/** A list of the settings that are known. `samplers` are the open model's; there are none before one is loaded. */
export function factsOf(settings: Settings, samplers: Samplers): HTMLDListElement {
  const { width, height } = settings;
  const facts = LABELS.map(([key, label]): [string, string] => {
    const value = String(settings[key] ?? "");
    return [label, key === "sampler" ? samplerLabel(value, samplers) : value];
  });
  if (width && height) facts.push(["Size", `${width}×${height}`]);
  return factList(facts.filter(([, value]) => value !== ""));
}

function samplerLabel(own: string, samplers: Samplers): string {
  const known = samplers.find(({ name }) => name === own)?.label;
  const { sampler, schedule } = infotextSampler(own);
  return known ?? [sampler, schedule].filter((part) => part !== undefined).join(" ");
}

/** Names and values as a list. */
export function factList(facts: readonly [name: string, value: string][]): HTMLDListElement {
  const list = make("dl", { className: "facts" });
  for (const [name, value] of facts) {
    list.append(make("dt", { dir: "auto" }, name), make("dd", { dir: "auto" }, value));
  }
  return list;
}
