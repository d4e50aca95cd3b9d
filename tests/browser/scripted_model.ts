// What the scripted engine says of its model; tests of the page compare with it.
import type { ModelInfo } from "easel-wasm";

/** A square model, so that one side says its size. */
const SIDE = 64;

export const SCRIPTED_MODEL: ModelInfo = {
  pipeline: "StableDiffusionPipeline",
  width: SIDE,
  height: SIDE,
  factor: 16,
  token_limit: 22,
  sampler: "ddim",
  samplers: [
    { name: "ddim", label: "DDIM" },
    { name: "euler", label: "Euler" },
    { name: "pndm", label: "PNDM" },
  ],
  steps: 8,
  guidance_scale: 4,
};

/** Its picture's size as the page writes it. */
export const SCRIPTED_SIZE = `${SIDE}×${SIDE}`;
