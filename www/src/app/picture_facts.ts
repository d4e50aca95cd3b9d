// How a picture was made, for people to read. Texts may come from anybody's files: they are texts here, each by itself, so
// that marks of writing direction in one do not turn others around.
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

/** A list of the settings that are known. */
export function factsOf(
  settings: Settings,
  samplers: readonly { name: string; label: string }[],
): HTMLDListElement {
  const { width, height } = settings;
  const facts = LABELS.map(([key, label]): [string, string] => {
    const value = settings[key] ?? "";
    return [label, samplers.find(({ name }) => key === "sampler" && name === value)?.label ?? String(value)];
  });
  if (width && height) facts.push(["Size", `${width}×${height}`]);
  return factList(facts.filter(([, value]) => value !== ""));
}

/** Names and values as a list. */
export function factList(facts: readonly [name: string, value: string][]): HTMLDListElement {
  const list = make("dl", { className: "facts" });
  for (const [name, value] of facts) {
    list.append(make("dt", { dir: "auto" }, name), make("dd", { dir: "auto" }, value));
  }
  return list;
}
