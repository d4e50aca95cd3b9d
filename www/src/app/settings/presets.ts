// How much work to put into a picture: numbers that suit a model, by how it was trained.
import type { ModelInfo } from "../../shared/protocol.ts";

/** How much work, the least first. */
export const PRESETS = ["Fast", "Balanced", "Quality"] as const;

/** The numbers behind a choice of effort. */
export interface Preset {
  name: (typeof PRESETS)[number];
  steps: number;
  guidance_scale: number;
  sampler: string;
}

/** Shares of the usual steps. */
const SHARES = { Fast: 0.5, Balanced: 1, Quality: 2 } as const;
/** A sampler that needs few steps, for models whose own, of 2022, needs many. */
const QUICK = { instead: "pndm", name: "dpmpp-2m", steps: 12 };

/** A model that wants so few steps, and no guidance, was taught to need no more, and draws no better with them. */
const FEW_STEPS = 8;

/** The presets of a model, the least work first; `Balanced` is the model's own numbers. */
export function presetsOf(info: ModelInfo): Preset[] {
  const few = info.steps <= FEW_STEPS && info.guidance_scale <= 1;
  const names = few ? PRESETS.filter((name) => name !== "Quality") : PRESETS;
  const own = (name: Preset["name"]): Preset => ({
    name,
    steps: Math.max(1, Math.round(info.steps * SHARES[name])),
    guidance_scale: info.guidance_scale,
    sampler: info.sampler,
  });
  const quick = info.sampler === QUICK.instead && offers(info, QUICK.name);
  const { steps, name: sampler } = QUICK;
  return names.map((name) => (quick && name === "Fast" ? { ...own(name), steps, sampler } : own(name)));
}

function offers(info: ModelInfo, sampler: string): boolean {
  return info.samplers.some(({ name }) => name === sampler);
}
